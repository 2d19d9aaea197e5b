"""Everything that the tool `cdk-buildkit` can say when something is wrong; docs/client.md lists each with its mend."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One thing that can be wrong.

    Args:
        code: Its name in JSON.
        exit_code: What the tool exits with. 2: the command line; 3: AWS; 4: no builder came; 5: builders are not
            reached; 6: buildx; 7: what is connected here; 8: credentials would be sent.
        words: What is said, with the names in braces filled in.
    """

    code: str
    exit_code: int
    words: str


class ToolError(Exception):
    """The tool cannot go on.

    Args:
        failure: What is wrong.
        values: What its words leave open.
    """

    def __init__(self, failure: Failure, **values: object) -> None:
        super().__init__(failure.words.format(**values))
        self.failure = failure


BUILDER_NAME = Failure(
    code="builder-name",
    exit_code=2,
    words="a builder's name is letters, digits, '.', '_' and '-', a letter first, 64 at most; got {given!r}: pass "
    "another --builder",
)
CACHE_NAME = Failure(code="cache-name", exit_code=2, words="no cache can be named: {reason}")
ARCHITECTURE = Failure(
    code="architecture",
    exit_code=2,
    words="{stack} builds for {has}; got --architecture {given}: name one of these, or leave it out for all",
)
NO_REPOSITORY = Failure(
    code="no-repository",
    exit_code=2,
    words="--form ecr needs the repository's URI; got {given!r}: pass --repository "
    "111122223333.dkr.ecr.eu-west-1.amazonaws.com/app",
)
ONE_ARCHITECTURE = Failure(
    code="one-architecture",
    exit_code=2,
    words="a cache in a registry is one architecture's, for the last export of a tag wins; got {given}: pass one "
    "--architecture, and build each in a command of its own",
)
NO_COMMAND = Failure(
    code="no-command",
    exit_code=2,
    words="`{command}` cannot be run: {reason}; write the build's own command after `--`",
)
THROUGH_SSM = Failure(
    code="through-ssm",
    exit_code=2,
    words="--through-ssm leads to an instance that waking names; got {given}: leave that out",
)
NO_GITHUB_JOB = Failure(
    code="no-github-job",
    exit_code=2,
    words="this is no job of GitHub Actions, for {name} is not set; call it in a step of a job or in a runner's hook",
)
NO_CREDENTIALS = Failure(
    code="no-credentials",
    exit_code=3,
    words="no AWS credentials were found on this machine: {reason}; log in, or pass --profile",
)
CREDENTIALS_REFUSED = Failure(
    code="credentials-refused",
    exit_code=3,
    words="AWS refused this machine's credentials: {reason}; log in again, and set the clock right",
)
NO_REGION = Failure(
    code="no-region", exit_code=3, words="no AWS region is set; set AWS_REGION or pass --region: the fleet's own"
)
AWS_UNREACHED = Failure(
    code="aws-unreached",
    exit_code=3,
    words="AWS did not answer in {region}: {reason}; check the region's name and this machine's way to AWS",
)
AWS_FAILED = Failure(
    code="aws-failed", exit_code=3, words="AWS could not {what} in {region}: {reason}; mend that, and try again"
)
NO_STACK = Failure(
    code="no-stack",
    exit_code=3,
    words="there is no stack {stack} in {region}; pass the name of a fleet's stack, as `cdk list` shows it, and its "
    "--region",
)
NO_FLEET = Failure(
    code="no-fleet",
    exit_code=3,
    words="the stack {stack} has no output {output}; pass a fleet's stack, or deploy it again with this version",
)
NOT_ALLOWED = Failure(
    code="not-allowed",
    exit_code=3,
    words="these credentials may not {what}: {reason}; call {grant} for their role where the fleet is defined",
)
NO_CERTIFICATE = Failure(
    code="no-certificate",
    exit_code=3,
    words="the secret {secret} holds no client certificate; see the log of the function that issues it, and deploy the "
    "fleet again",
)
FUNCTION_FAILED = Failure(
    code="function-failed", exit_code=3, words="the function {function} failed: {reason}; its log has the rest"
)
NO_INSTANCE = Failure(
    code="no-instance",
    exit_code=3,
    words="{stack} names no instance that Session Manager could reach; of builders that are pods, forward a port with "
    "kubectl and make the builder by hand; else deploy the fleet again with this version",
)
NO_BUILDER = Failure(
    code="no-builder",
    exit_code=4,
    words="no builder was there after {minutes:g} minutes: {reason}; wait longer with --timeout, or raise max_capacity",
)
UNKNOWN_HOST = Failure(
    code="unknown-host",
    exit_code=5,
    words="{host} has no address here: {reason}; run this in the fleet's VPC, or one that its private zone is "
    "associated with; in the cluster, pass --in-cluster",
)
NOT_REACHED = Failure(
    code="not-reached",
    exit_code=5,
    words="{endpoint} was not reached: {reason}; let this machine in with `clients` of the fleet, and look at its "
    "route and security groups",
)
BUILDER_UNTRUSTED = Failure(
    code="builder-untrusted",
    exit_code=5,
    words="{endpoint} showed a certificate that does not hold: {reason}; set the clock right, connect again, and see "
    "where the name leads",
)
CLIENT_UNTRUSTED = Failure(
    code="client-untrusted",
    exit_code=5,
    words="{endpoint} refused the client certificate: {reason}; connect again for a new one; right after certificates "
    "were revoked, wait until builders are replaced",
)
NO_FORWARD = Failure(
    code="no-forward",
    exit_code=5,
    words="no port was forwarded to {instance} through Session Manager: {reason}; see whether its agent is online with "
    "`aws ssm describe-instance-information`, and what {log} says",
)
NO_BUILDX = Failure(
    code="no-buildx",
    exit_code=6,
    words="buildx does not run here, neither `docker buildx` nor `buildx`: {reason}; install it",
)
NO_PLUGIN = Failure(
    code="no-plugin",
    exit_code=6,
    words="session-manager-plugin does not serve here: {reason}; install the newest: "
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
)
BUILDX_FAILED = Failure(code="buildx-failed", exit_code=6, words="`{command}` failed: {reason}; see what it says")
BUILDER_EXISTS = Failure(
    code="builder-exists",
    exit_code=6,
    words="buildx has a builder {builder} that this tool did not make; pass another --builder, or remove it with "
    "`docker buildx rm {builder}`",
)
NOT_CONNECTED = Failure(
    code="not-connected",
    exit_code=7,
    words="no builder {builder} was connected here, but {connected}; pass one of these, or nothing",
)
SEVERAL_CONNECTED = Failure(
    code="several-connected", exit_code=7, words="{connected} are connected here; say which with --builder"
)
NOTHING_CONNECTED = Failure(
    code="nothing-connected",
    exit_code=7,
    words="no fleet is connected here, so none can be woken when a build loses its builder; run `cdk-buildkit connect "
    "STACK` first",
)
UNREADABLE_STATE = Failure(
    code="unreadable-state",
    exit_code=7,
    words="{path} does not say what is connected; run `cdk-buildkit connect STACK` again",
)
UNWRITABLE_STATE = Failure(
    code="unwritable-state",
    exit_code=7,
    words="{path} could not be written: {reason}; make it yours, or set XDG_STATE_HOME to a directory that is",
)
SENDS_CREDENTIALS = Failure(
    code="sends-credentials",
    exit_code=8,
    words="with {option} buildx would send this machine's own AWS credentials to the builder, which uses them in place "
    "of its role; write {mended}",
)
