"""A fleet's private certificate authority, and the certificates by which its builders and clients know each other."""

import re
from datetime import timedelta

from aws_cdk import CfnResource, CustomResource, Duration, RemovalPolicy, Stack, Token
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as events_targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.builder_scaling import METRIC_NAMESPACE
from cdk_buildkit.handler_function import HandlerFunction
from cdk_buildkit.handlers.certificates.rotation import CertificateLives

_LONGEST_DOMAIN_NAME = 246  # of the 253 characters that DNS allows: the client certificate's name puts "client." before
_ANSWER_SECONDS = 300  # a function that dies without an answer fails the deployment after so long, not after an hour
_DOMAIN_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

CERTIFICATE_DAYS_LEFT = "CertificateDaysLeft"
"""A metric of the `server` and the `client` certificate (dimension `Certificate`) of a fleet, from the issuer's log."""


class BuilderCertificates(Construct):
    """A certificate authority for one fleet, with a certificate for its builders and one for its clients.

    One authority a fleet, because buildkitd accepts every client that its authority signed and checks no name: fleets
    that shared one would be one trust tier.

    A function issues the certificates when the stack is deployed and renews them daily, where due. Each is in a
    secret of its own, a JSON object with the PEM texts `ca.crt`, `tls.crt` and `tls.key`; `ca.crt` holds two
    authorities while one takes over from the other, which disturbs nobody. The authority's key is in a third secret,
    which this function's role alone may read or change, by the secret's own policy.

    Builders read their certificate once, at boot. So put `revision` into what replaces them when it changes, and let
    none live longer than `longest_instance_lifetime`.

    Args:
        domain_name: The fleet's name in DNS, which builders prove to have.
        server_life: How long a builder's certificate is valid, 24 to 180 days. Renewed at a third.
        client_life: How long a client's certificate is valid, 24 to 180 days. Renewed at a third: a client that
            fetches it for each job always has several days.
        generation: Raise it to revoke every certificate of the fleet at the next deployment, without an overlap:
            BuildKit knows no other revocation. Clients and builders of before and after refuse each other.
        encryption_key: A KMS key for the secrets. Default: the account's own key for Secrets Manager.

    Raises:
        ValueError: The name is no lower-case DNS name of 3 to 246 characters, a life is out of its limits, or the
            generation is below 1.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        domain_name: str,
        server_life: Duration | None = None,
        client_life: Duration | None = None,
        generation: int = 1,
        encryption_key: kms.IKey | None = None,
    ) -> None:
        super().__init__(scope, id)
        if not Token.is_unresolved(domain_name) and (
            len(domain_name) > _LONGEST_DOMAIN_NAME or not _DOMAIN_NAME.fullmatch(domain_name)
        ):
            raise ValueError(
                "a fleet's name in DNS is lower-case labels joined by dots, "
                f"{_LONGEST_DOMAIN_NAME} characters at most; got {domain_name!r}: write it like main.buildkit.internal"
            )
        if generation < 1:
            raise ValueError(f"a generation of certificates is 1 or higher; got {generation}: raise it")
        self.domain_name = domain_name
        self.lives = CertificateLives(
            server=_timedelta(server_life or Duration.days(90)), client=_timedelta(client_life or Duration.days(30))
        )
        self._encryption_key = encryption_key
        self._authority_secret = self._secret("Authority", "The certificate authority; for the issuing function alone")
        self.server_secret = self._secret("Server", "The builders' certificate and whom they trust")
        self.client_secret = self._secret("Client", "The clients' certificate and whom they trust")

        settings = {
            "DOMAIN_NAME": domain_name,
            "GENERATION": str(generation),
            "SERVER_LIFE_SECONDS": str(int(self.lives.server.total_seconds())),
            "CLIENT_LIFE_SECONDS": str(int(self.lives.client.total_seconds())),
        }
        self.issuer = HandlerFunction(
            self,
            "Issuer",
            handler="certificates",
            description="Issues and renews the certificates of BuildKit builders and their clients",
            environment={
                **settings,
                "AUTHORITY_SECRET": self._authority_secret.secret_arn,
                "SERVER_SECRET": self.server_secret.secret_arn,
                "CLIENT_SECRET": self.client_secret.secret_arn,
            },
        )
        self._let_only_the_issuer_sign()
        issued = CustomResource(
            self,
            "Issued",
            service_token=self.issuer.function.function_arn,
            # The function reads its environment; these make CloudFormation call it again when they change.
            properties={name.title().replace("_", ""): value for name, value in settings.items()},
        )
        resource = issued.node.default_child
        assert isinstance(resource, CfnResource)  # noqa: S101 - for the type checker
        # CDK writes its `service_timeout` as a string, of which CloudFormation's schema disapproves.
        resource.add_property_override("ServiceTimeout", _ANSWER_SECONDS)
        # Before the first issue: what is logged without a filter is never counted, and the next report is a day away.
        issued.node.add_dependency(self._count_days_left())
        self.revision = issued.get_att_string("Revision")
        """What changes whenever running builders have to be replaced. Whoever uses it waits for the first issue."""

        rule = events.Rule(
            self,
            "Daily",
            description="Renews the certificates that are due",
            schedule=events.Schedule.rate(Duration.days(1)),
            targets=[
                events_targets.LambdaFunction(
                    self.issuer.function, event=events.RuleTargetInput.from_object({"action": "renew"})
                )
            ],
        )
        rule.node.add_dependency(issued)

    @property
    def longest_instance_lifetime(self) -> Duration:
        """The longest `max_instance_lifetime` with which no builder outlives its certificate."""
        return Duration.seconds(int(self.lives.longest_instance_lifetime.total_seconds()))

    def check_instance_lifetime(self, max_instance_lifetime: Duration) -> None:
        """Refuse a lifetime of builders that could outlive their certificates.

        Raises:
            ValueError: It is longer than `longest_instance_lifetime`.
        """
        given, longest = _timedelta(max_instance_lifetime), self.lives.longest_instance_lifetime
        if given > longest:
            raise ValueError(
                "max_instance_lifetime must be at most a third of server_life, less 5 days for a late renewal and a "
                f"late replacement, or builders outlive their certificates; got {_days(given)} with a server_life of "
                f"{_days(self.lives.server)}: lower it to {_days(longest)} or raise server_life"
            )

    def grant_serve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a builder read the server's certificate, and nothing more."""
        return self.server_secret.grant_read(grantee)

    def grant_connect(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a client read the client's certificate, and nothing more. It may then build on this fleet."""
        return self.client_secret.grant_read(grantee)

    def _count_days_left(self) -> logs.MetricFilter:
        return logs.MetricFilter(
            self,
            CERTIFICATE_DAYS_LEFT,
            log_group=self.issuer.log_group,
            filter_pattern=logs.FilterPattern.literal('{ $.event = "certificate" }'),
            metric_namespace=METRIC_NAMESPACE,
            metric_name=CERTIFICATE_DAYS_LEFT,
            metric_value="$.days_left",
            dimensions={"Fleet": "$.fleet", "Certificate": "$.certificate"},
        )

    def _secret(self, name: str, description: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            name,
            description=description,
            encryption_key=self._encryption_key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        # The function writes every value. With one in the template, an update of the stack could put it back.
        resource = secret.node.default_child
        assert isinstance(resource, secretsmanager.CfnSecret)  # noqa: S101 - for the type checker
        resource.add_property_deletion_override("GenerateSecretString")
        acknowledge(
            secret,
            "SMG4",
            "The issuer renews what is due every day. Secrets Manager's own rotation would renew each secret alone, "
            "where the three have to change together and in order.",
        )
        return secret

    def _let_only_the_issuer_sign(self) -> None:
        for secret in (self._authority_secret, self.server_secret, self.client_secret):
            secret.grant_read(self.issuer)
            # The secret's own grant_write would also allow UpdateSecret, which changes its encryption.
            iam.Grant.add_to_principal(
                grantee=self.issuer, actions=["secretsmanager:PutSecretValue"], resource_arns=[secret.secret_arn]
            )
        change = "secretsmanager:UpdateSecretVersionStage"
        iam.Grant.add_to_principal(
            grantee=self.issuer, actions=[change], resource_arns=[self._authority_secret.secret_arn]
        )
        if self._encryption_key:
            service = f"secretsmanager.{Stack.of(self).region}.amazonaws.com"
            self._encryption_key.grant_encrypt(kms.ViaServicePrincipal(service, self.issuer.role))
        # Whoever else wants the authority's key, an administrator included, has to change this policy first.
        self._authority_secret.add_to_resource_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", change],
                resources=["*"],  # in a secret's policy: this secret
                conditions={"ArnNotEquals": {"aws:PrincipalArn": self.issuer.role.role_arn}},
            )
        )


def _timedelta(duration: Duration) -> timedelta:
    return timedelta(seconds=duration.to_seconds())


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"
