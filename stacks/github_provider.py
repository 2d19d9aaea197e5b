"""The account's OpenID Connect providers for GitHub, one for each issuer: an account can have no second."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit.github_actions_role import AUDIENCE


class GithubProviderStack(Stack):
    """Gives `providers`, by issuer."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        issuers: Sequence[str],
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self.providers = {
            issuer: iam.OidcProviderNative(
                self, f"Provider-{issuer.replace('/', '-')}", url=f"https://{issuer}", client_ids=[AUDIENCE]
            )
            for issuer in issuers
        }
