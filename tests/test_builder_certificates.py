"""BuilderCertificates: who may read what, what CloudFormation waits for, and an asset that is made offline."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from cdk_buildkit import handler_function
from cdk_buildkit.builder_certificates import BuilderCertificates
from cdk_buildkit.handler_function import stage_handler

DOMAIN_NAME = "main.buildkit.internal"
READ = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]


def new_stack(tmp_path: Path, **context: object) -> cdk.Stack:
    flags = {"@aws-cdk/aws-iam:minimizePolicies": True}
    return cdk.Stack(cdk.App(outdir=str(tmp_path / "cdk.out"), context=flags | context), "Stack")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The certificates of one fleet, with a role that serves and one that connects."""
    stack = new_stack(tmp_path_factory.mktemp("certificates"))
    certificates = BuilderCertificates(stack, "Certificates", domain_name=DOMAIN_NAME)
    for name, grant in (("Builder", certificates.grant_serve), ("Runner", certificates.grant_connect)):
        grant(iam.Role(stack, name, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    return Template.from_stack(stack)


def only(resources: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a resource of a template
    (resource,) = resources.values()
    return resource


def secret(template: Template, kind: str) -> str:
    """Return the logical id of a secret."""
    names = [name for name in template.find_resources("AWS::SecretsManager::Secret") if f"Certificates{kind}" in name]
    (name,) = names
    return name


def statements(template: Template, role: str) -> list[Any]:
    """Return what a role may do, as its one policy says."""
    policies = template.find_resources("AWS::IAM::Policy").values()
    (policy,) = (each for each in policies if each["Properties"]["Roles"][0]["Ref"].startswith(role))
    return list(policy["Properties"]["PolicyDocument"]["Statement"])


@pytest.mark.parametrize(("role", "kind"), [("Builder", "Server"), ("Runner", "Client")])
def test_a_grant_opens_one_certificate_and_nothing_else(template: Template, role: str, kind: str) -> None:
    assert statements(template, role) == [
        {"Action": READ, "Effect": "Allow", "Resource": {"Ref": secret(template, kind)}}
    ]


def test_the_authoritys_secret_is_closed_to_everybody_but_the_issuer(template: Template) -> None:
    policy = only(template.find_resources("AWS::SecretsManager::ResourcePolicy"))["Properties"]

    issuer = only(template.find_resources("AWS::Lambda::Function"))["Properties"]["Role"]
    assert policy["SecretId"] == {"Ref": secret(template, "Authority")}
    assert policy["ResourcePolicy"]["Statement"] == [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": [
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            "Resource": "*",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": issuer}},
        }
    ]


def test_the_issuer_may_use_its_three_secrets_and_its_log_and_nothing_else(template: Template) -> None:
    log = only({name: name for name in template.find_resources("AWS::Logs::LogGroup")})
    authority, server, client = (secret(template, kind) for kind in ("Authority", "Server", "Client"))

    allowed = {
        (action, str(resource))
        for statement in statements(template, "CertificatesIssuer")
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }

    assert allowed == {
        *((action, str({"Ref": each})) for action in READ for each in (authority, server, client)),
        *(("secretsmanager:PutSecretValue", str({"Ref": each})) for each in (authority, server, client)),
        ("secretsmanager:UpdateSecretVersionStage", str({"Ref": authority})),
        ("logs:CreateLogStream", str({"Fn::GetAtt": [log, "Arn"]})),
        ("logs:PutLogEvents", str({"Fn::GetAtt": [log, "Arn"]})),
    }
    assert all(
        "ManagedPolicyArns" not in role["Properties"] for role in template.find_resources("AWS::IAM::Role").values()
    )


def test_no_secret_has_a_value_that_an_update_could_put_back(template: Template) -> None:
    for resource in template.find_resources("AWS::SecretsManager::Secret").values():
        assert set(resource["Properties"]) == {"Description"}
        assert resource["DeletionPolicy"] == "Delete"


def test_a_given_key_encrypts_the_secrets_and_is_open_to_their_readers_through_secrets_manager(tmp_path: Path) -> None:
    stack = new_stack(tmp_path)
    key = kms.Key(stack, "Key")
    certificates = BuilderCertificates(stack, "Certificates", domain_name=DOMAIN_NAME, encryption_key=key)
    certificates.grant_connect(iam.Role(stack, "Runner", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    template = Template.from_stack(stack)

    policy = only(template.find_resources("AWS::KMS::Key"))["Properties"]["KeyPolicy"]["Statement"]
    grants = [each for each in policy if "GetAtt" in str(each["Principal"])]
    reading, writing = (str(each["Principal"]) for each in grants)
    assert [each["Action"] for each in grants] == [
        "kms:Decrypt",
        ["kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
    ]
    assert all("secretsmanager." in str(each["Condition"]["StringEquals"]["kms:ViaService"]) for each in grants)
    assert ("Issuer" in reading, "Runner" in reading) == (True, True)
    assert ("Issuer" in writing, "Runner" in writing) == (True, False)
    assert all(
        "KmsKeyId" in each["Properties"] for each in template.find_resources("AWS::SecretsManager::Secret").values()
    )


def test_the_issuer_is_called_daily_once_the_first_certificates_are_there(template: Template) -> None:
    rule = only(template.find_resources("AWS::Events::Rule"))

    assert rule["Properties"]["ScheduleExpression"] == "rate(1 day)"
    assert rule["Properties"]["Targets"][0]["Input"] == '{"action":"renew"}'
    assert rule["DependsOn"] == list(template.find_resources("AWS::CloudFormation::CustomResource"))


def test_cloudformation_calls_again_when_a_setting_changes(tmp_path: Path) -> None:
    stack = new_stack(tmp_path)
    BuilderCertificates(
        stack,
        "Certificates",
        domain_name=DOMAIN_NAME,
        server_life=cdk.Duration.days(30),
        client_life=cdk.Duration.days(24),
        generation=7,
    )
    template = Template.from_stack(stack)

    issued = only(template.find_resources("AWS::CloudFormation::CustomResource"))["Properties"]
    environment = only(template.find_resources("AWS::Lambda::Function"))["Properties"]["Environment"]["Variables"]
    assert {key: each for key, each in issued.items() if key != "ServiceToken"} == {
        "DomainName": DOMAIN_NAME,
        "Generation": "7",
        "ServerLifeSeconds": str(30 * 86400),
        "ClientLifeSeconds": str(24 * 86400),
        "ServiceTimeout": 300,
    }
    assert (environment["GENERATION"], environment["SERVER_LIFE_SECONDS"]) == ("7", str(30 * 86400))


def test_who_uses_the_revision_waits_for_the_first_issue(tmp_path: Path) -> None:
    stack = new_stack(tmp_path)

    certificates = BuilderCertificates(stack, "Certificates", domain_name=DOMAIN_NAME)

    attribute = stack.resolve(certificates.revision)["Fn::GetAtt"]
    assert attribute == [*Template.from_stack(stack).find_resources("AWS::CloudFormation::CustomResource"), "Revision"]


def test_every_finding_of_cdk_nag_is_answered(tmp_path: Path) -> None:
    stack = new_stack(tmp_path)
    app = stack.node.root
    assert isinstance(app, cdk.App)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))

    BuilderCertificates(stack, "Certificates", domain_name=DOMAIN_NAME)

    app.synth()


@pytest.mark.parametrize(("days", "longest"), [(24, 3), (90, 25), (180, 55)])
def test_takes_instance_lifetimes_that_end_before_the_certificate(tmp_path: Path, days: int, longest: int) -> None:
    certificates = BuilderCertificates(
        new_stack(tmp_path), "Certificates", domain_name=DOMAIN_NAME, server_life=cdk.Duration.days(days)
    )

    certificates.check_instance_lifetime(certificates.longest_instance_lifetime)

    assert certificates.longest_instance_lifetime.to_days() == longest
    with pytest.raises(
        ValueError,
        match=f"max_instance_lifetime must be at most a third of server_life.*; got {longest + 1} days with a "
        f"server_life of {days} days: lower it to {longest} days or raise server_life",
    ):
        certificates.check_instance_lifetime(cdk.Duration.days(longest + 1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"domain_name": "Main.internal"},
            "lower-case labels joined by dots, 246 .*; got 'Main.internal': write it like",
        ),
        ({"domain_name": "main"}, "lower-case labels joined by dots, .*; got 'main': write it like"),
        ({"domain_name": f"{'a.' * 123}b"}, "246 characters at most; got"),
        ({"generation": 0}, "a generation of certificates is 1 or higher; got 0: raise it"),
        ({"server_life": cdk.Duration.days(23)}, "a server certificate's life is 24 to 180 days.*got 23 days: move"),
        ({"client_life": cdk.Duration.days(181)}, "a client certificate's life is 24 to 180 days.*got 181 days: move"),
    ],
)
def test_refuses(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BuilderCertificates(new_stack(tmp_path), "Certificates", **{"domain_name": DOMAIN_NAME, **settings})


def test_a_name_that_is_known_at_deployment_only_is_taken(tmp_path: Path) -> None:
    stack = new_stack(tmp_path)

    BuilderCertificates(stack, "Certificates", domain_name=cdk.CfnParameter(stack, "Name").value_as_string)

    issued = only(Template.from_stack(stack).find_resources("AWS::CloudFormation::CustomResource"))
    assert issued["Properties"]["DomainName"] == {"Ref": "Name"}


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_asset_is_the_same_bytes_wherever_it_is_made_and_leaves_nothing_in_the_tree(tmp_path: Path) -> None:
    before = {path for path in handler_function.HANDLERS.rglob("*") if "__pycache__" not in path.parts}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        BuilderCertificates(new_stack(tmp_path / name), "Certificates", domain_name=DOMAIN_NAME)

    one, two = (files(tmp_path / name / "cdk.out") for name in ("one", "two"))

    assert one == two
    assert before == {path for path in handler_function.HANDLERS.rglob("*") if "__pycache__" not in path.parts}


def test_the_asset_holds_the_handler_and_the_wheels_for_lambda(tmp_path: Path) -> None:
    stage_handler("certificates", tmp_path)

    content = set(files(tmp_path))
    assert {
        "cdk_buildkit/handlers/certificates/index.py",
        "cdk_buildkit/handlers/custom_resource.py",
        "cryptography/hazmat/bindings/_rust.abi3.so",
        "_cffi_backend.cpython-313-aarch64-linux-gnu.so",
        "pycparser/__init__.py",
    } <= content
    assert "cdk_buildkit/__init__.py" not in content  # it would load the CDK
    assert {mode & 0o777 for mode, _ in files(tmp_path).values()} == {0o644}


def test_lambda_loads_the_handler_without_the_cdk(tmp_path: Path) -> None:
    stage_handler("certificates", tmp_path / "asset")
    code, packages = tmp_path / "code", sysconfig.get_path("purelib")
    # Not the asset's wheels: this machine's processor may be another.
    shutil.copytree(tmp_path / "asset" / "cdk_buildkit", code / "cdk_buildkit")
    program = f"""
import sys
sys.path += [{str(code)!r}, {packages!r}]
from cdk_buildkit.handlers.certificates.index import handler
print(handler.__code__.co_filename, "aws_cdk" in sys.modules)
"""

    # Isolated, and without the site's own paths: no other cdk_buildkit is found.
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [str(code / "cdk_buildkit/handlers/certificates/index.py"), "False"]


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], object]], None]:
    """Change a copy of the wheels, and make the asset from it."""

    def spoil(change: Callable[[Path], object]) -> None:
        handlers = tmp_path / "handlers"
        shutil.copytree(handler_function.HANDLERS, handlers)
        change(handlers / "certificates" / "wheels")
        monkeypatch.setattr(handler_function, "HANDLERS", handlers)
        BuilderCertificates(new_stack(tmp_path), "Certificates", domain_name=DOMAIN_NAME)

    return spoil


def test_a_wheel_with_another_sum_is_refused(spoil: Callable[[Callable[[Path], object]], None]) -> None:
    def change(wheels: Path) -> None:
        wheel = next(wheels.glob("cryptography-*.whl"))
        wheel.write_bytes(wheel.read_bytes() + b"\0")

    with pytest.raises(ValueError, match=r"the SHA-256 of .*cryptography-.*whl must be [0-9a-f]{64}, as SHA256SUMS"):
        spoil(change)


@pytest.mark.parametrize(
    "change",
    [lambda wheels: (wheels / "other.whl").touch(), lambda wheels: next(wheels.glob("cffi-*.whl")).unlink()],
    ids=["one too many", "one missing"],
)
def test_other_wheels_than_the_pinned_are_refused(
    spoil: Callable[[Callable[[Path], object]], None], change: Callable[[Path], object]
) -> None:
    with pytest.raises(
        ValueError, match=r"holds exactly the wheels that SHA256SUMS names; got .*: install cdk-buildki"
    ):
        spoil(change)
