"""What a single value must look like: ranges, names and identifiers, as the services that get them demand."""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated

from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.builder_logs import RETENTION_DAYS
from cdk_buildkit.instance_types import instance_type_architecture
from stacks.config.problems import RefusalError, listing, suggestion

RUN_STEP_NETWORK = ipaddress.IPv4Network("10.10.0.0/16")
"""BuildKit's own bridge network (its default `bridgeSubnet`): addresses in it are out of a RUN step's reach."""

LONGEST_ZONE_NAME = 253 - len("client.") - len(".") - 32
"""Characters of a zone's name: a DNS name has 253, a fleet's name 32."""

PARTITION = r"arn:aws(-[a-z]+)*"
"""How an ARN begins, as a pattern."""

REGION = r"[a-z]{2,4}(-[a-z]+)+-[0-9]"
"""A region's name, as a pattern."""

CONSOLE = "copy it from the console or the command line"
"""How to mend an identifier."""

_HEX = r"([0-9a-f]{8}|[0-9a-f]{17})"
_NO_VPC_NETWORKS = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
_SMALLEST_VPC, _LARGEST_VPC = 28, 16


def between(least: float, most: float) -> Callable[[float], None]:
    """Require a number in a range, both ends included."""

    def check(value: float) -> None:
        if not least <= value <= most:
            raise RefusalError(value, f"{least} to {most}", "raise it" if value < least else "lower it")

    return check


def matching(pattern: str, allowed: str, mend: str) -> Callable[[str], None]:
    """Require that the whole of a string matches an ASCII pattern."""
    regex = re.compile(pattern, re.ASCII)

    def check(value: str) -> None:
        if not regex.fullmatch(value):
            raise RefusalError(value, allowed, mend)

    return check


def one_of(*names: str) -> Callable[[str], None]:
    """Require one of a few words."""

    def check(value: str) -> None:
        if value not in names:
            mend = f"write {names[0]}" if len(names) == 1 else suggestion(value, names, "choose one of them")
            raise RefusalError(value, listing(names), mend)

    return check


def one_of_numbers(*numbers: int) -> Callable[[int], None]:
    """Require one of a few numbers."""

    def check(value: int) -> None:
        if value not in numbers:
            nearest = min(numbers, key=lambda number: abs(number - value))
            raise RefusalError(value, listing([str(number) for number in numbers]), f"take {nearest}")

    return check


def check_name(value: str) -> None:
    """Require a name that may become part of a key prefix, a DNS name, a stack's name and a construct's id."""
    try:
        CacheScope(value)
    except ValueError as error:
        raise RefusalError(
            value,
            "1 to 32 lower-case letters, digits and hyphens, a letter first and no hyphen last",
            "rename it, for example to main",
        ) from error


def check_vpc_cidr(value: str) -> None:
    """Require an IPv4 block that a VPC may have and that RUN steps can reach."""
    allowed = f"an IPv4 block of /{_LARGEST_VPC} to /{_SMALLEST_VPC}"
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        mend = 'write the first address of the block and its length, for example "10.0.0.0/16"'
        raise RefusalError(value, allowed, mend) from error
    if str(network) != value:
        raise RefusalError(value, allowed, f'write it as "{network}"')
    if not _LARGEST_VPC <= network.prefixlen <= _SMALLEST_VPC:
        raise RefusalError(value, allowed, "change the number after the slash")
    if any(network.overlaps(other) for other in _NO_VPC_NETWORKS):
        raise RefusalError(value, f"{allowed} that a VPC may use", 'take a private one, for example "10.0.0.0/16"')
    if network.overlaps(RUN_STEP_NETWORK):
        raise RefusalError(
            value,
            f"{allowed} outside {RUN_STEP_NETWORK}, which RUN steps have among themselves",
            "take another block, or RUN steps reach neither the VPC's hosts nor its DNS",
        )


def check_client(value: str) -> None:
    """Require an IPv4 block of private addresses, or a security group's id."""
    if re.fullmatch(rf"sg-{_HEX}", value, re.ASCII):
        return
    allowed = "a private IPv4 block or a security group's id, sg- and 8 or 17 hexadecimal digits"
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise RefusalError(value, allowed, 'write for example "10.0.0.0/16"') from error
    if not network.is_private or network.prefixlen == 0:
        raise RefusalError(value, allowed, "builders have no public address: take the clients' private block")


def check_block(value: str) -> None:
    """Require an IPv4 block."""
    try:
        ipaddress.IPv4Network(value)
    except ValueError as error:
        raise RefusalError(value, "an IPv4 block", 'write for example "198.51.100.0/24"') from error


def check_instance_type(value: str) -> None:
    """Require the name of an instance type that Linux runs on."""
    if not instance_type_architecture(value):
        raise RefusalError(
            value, "an instance type for Linux", "write family and size as EC2 does, for example c7gd.2xlarge"
        )


def check_release_url(value: str) -> None:
    """Require an https URL with the placeholders that tell the archives apart, and no other, and without a secret."""
    scheme, _, rest = value.partition("//")
    server, slash, path = rest.partition("/")
    if "@" in server:
        raise RefusalError(
            f"{scheme}//...@{server.rpartition('@')[2]}{slash}{path}",
            "an https URL without a user's name, for the template shows it to everybody",
            "take a server that asks for none",
        )
    printable = re.fullmatch(r"https://[!-~]{1,1000}", value)
    if not printable or "{architecture}" not in value or re.search(r"[{}]", _without_placeholders(value)):
        raise RefusalError(
            value,
            "an https URL with {architecture} and, where wanted, {version} in it",
            "put {architecture} where the archive's name says amd64 or arm64",
        )


def check_dns_name(value: str) -> None:
    """Require a zone's name that leaves room for a fleet's name before it."""
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if len(value) > LONGEST_ZONE_NAME or not re.fullmatch(rf"{label}(\.{label})*", value, re.ASCII):
        raise RefusalError(
            value,
            f"a DNS name of at most {LONGEST_ZONE_NAME} lower-case characters, labels of 1 to 63",
            "write it without a dot at its end, for example buildkit.internal",
        )


def _without_placeholders(url: str) -> str:
    return url.replace("{architecture}", "").replace("{version}", "")


Name = Annotated[str, check_name]
Cidr = Annotated[str, check_vpc_cidr]
ClientPeer = Annotated[str, check_client]
DnsName = Annotated[str, check_dns_name]
InstanceType = Annotated[str, check_instance_type]
ReleaseUrl = Annotated[str, check_release_url]
PublicBlock = Annotated[str, check_block]
Compute = Annotated[str, one_of("ec2", "eks")]
SecurityGroupId = Annotated[
    str, matching(f"sg-{_HEX}", "a security group's id, sg- and 8 or 17 hexadecimal digits", CONSOLE)
]
VpcId = Annotated[str, matching(f"vpc-{_HEX}", "a VPC's id, vpc- and 8 or 17 hexadecimal digits", CONSOLE)]
SubnetId = Annotated[str, matching(f"subnet-{_HEX}", "a subnet's id, subnet- and 8 or 17 hexadecimal digits", CONSOLE)]
AmiId = Annotated[
    str,
    matching(
        f"latest|ami-{_HEX}",
        "latest, or an AMI's id, ami- and 8 or 17 hexadecimal digits",
        "leave it out for the latest",
    ),
]
HostedZoneId = Annotated[
    str, matching("Z[A-Z0-9]{1,31}", "a hosted zone's id, Z and capitals and digits", "leave out /hostedzone/")
]
AvailabilityZone = Annotated[
    str,
    matching(f"{REGION}(-[a-z]+-[0-9])?[a-z]", "an availability zone's name", "write it out, for example eu-west-1a"),
]
AlarmTopicArn = Annotated[
    str,
    matching(
        rf"{PARTITION}:sns:{REGION}:[0-9]{{12}}:[A-Za-z0-9_-]{{1,256}}",
        "an SNS topic's ARN, arn:aws:sns:<region>:<account>:<name>, no FIFO topic",
        CONSOLE,
    ),
]
LogRetentionDays = Annotated[int, one_of_numbers(*RETENTION_DAYS)]
KmsKeyArn = Annotated[
    str,
    matching(
        rf"{PARTITION}:kms:{REGION}:[0-9]{{12}}:key/([0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|mrk-[0-9a-f]{{32}})",
        "a KMS key's ARN, arn:aws:kms:<region>:<account>:key/<id>",
        "write the key's ARN, no alias",
    ),
]
Cron = Annotated[
    str,
    matching(
        r"[0-9*/,-]+ [0-9*/,-]+ [0-9*/,-]+ [0-9A-Z*/,-]+ [0-9A-Z*/,-]+",
        "five fields of a cron expression: minute, hour, day of month, month, day of week",
        'write for example "0 8 * * MON-FRI"',
    ),
]
TimeZone = Annotated[
    str,
    matching(
        r"[A-Za-z]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}",
        "a time zone's name as IANA has it",
        'write for example "Europe/Berlin" or "UTC"',
    ),
]
PermissionsBoundary = Annotated[
    str,
    matching(
        rf"({PARTITION}:iam::([0-9]{{12}}|aws):policy/)?([\w+=,.@-]{{1,128}}/){{0,3}}[\w+=,.@-]{{1,128}}",
        "an IAM managed policy's name or ARN",
        "write the name alone, or arn:aws:iam::<account>:policy/<name>",
    ),
]
BootstrapQualifier = Annotated[
    str,
    matching(
        "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
        "1 to 10 lower-case letters, digits and hyphens",
        "write the one that `cdk bootstrap --qualifier` was given",
    ),
]
BucketName = Annotated[
    str,
    matching(
        r"(?!xn--|sthree-|amzn-s3-demo-|.*\.\.|.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$|[0-9.]+$)"
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "a bucket's name, 3 to 63 lower-case letters, digits, hyphens and dots",
        "write the name alone, no ARN or URL",
    ),
]
Version = Annotated[
    str,
    matching(r"v[0-9]{1,4}(\.[0-9]{1,4}){2}(-rc[0-9]{1,3})?", "a release's tag", "write it as v0.31.2"),
]
Sha256 = Annotated[
    str,
    matching("[0-9a-f]{64}", "64 lower-case hexadecimal digits", "take it from `sha256sum` of the archive"),
]
Capacity = Annotated[int, between(0, 1000)]
Builds = Annotated[int, between(1, 1000)]
Days = Annotated[int, between(1, 3650)]
