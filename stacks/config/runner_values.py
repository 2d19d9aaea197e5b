"""What a single value of the settings of runners must look like."""

from typing import Annotated

from cdk_buildkit.github_runner_fleet import is_runner_name
from stacks.config.problems import RefusalError
from stacks.config.values import REGION, matching, one_of


def check_runner_name(value: str) -> None:
    """Require a label or a runner group whose characters no shell takes apart."""
    if not is_runner_name(value):
        raise RefusalError(
            value,
            "1 to 64 letters, digits, dots, hyphens and underscores",
            "rename it, in GitHub too",
        )


RunnerName = Annotated[str, check_runner_name]
GithubName = Annotated[
    str,
    matching("[A-Za-z0-9._-]{1,100}", "a name in GitHub, 1 to 100 letters, digits, dots, hyphens, _", "write it alone"),
]
Access = Annotated[str, one_of("url", "gateway", "vpc", "none")]
EcrRepository = Annotated[
    str,
    matching(
        rf"[0-9]{{12}}\.dkr\.ecr\.{REGION}\.amazonaws\.com(\.cn)?/[a-z0-9]+([._/-]+[a-z0-9]+)*",
        "an ECR repository's URI, <account>.dkr.ecr.<region>.amazonaws.com/<name>",
        "write it without https:// and without a tag",
    ),
]
ToolVersion = Annotated[
    str, matching(r"v?[0-9]{1,4}(\.[0-9]{1,4}){2}", "a release's whole version", "write it as its release is called")
]
