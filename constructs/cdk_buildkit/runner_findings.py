"""What cdk-nag's AwsSolutions rules find in the engine of the runners, answered once for all that it makes."""

from constructs import IConstruct

from cdk_buildkit.acknowledgements import acknowledge, acknowledge_managed_policies, acknowledge_wildcards

_ENGINE = "The engine, cloudsnorkel.cdk-github-runners, makes it"

_REASONS = {
    "APIG1": f"{_ENGINE}: the function behind it logs every call that it takes.",
    "APIG2": f"{_ENGINE}: the function behind it checks GitHub's signature, or the setup's token, over the whole body.",
    "APIG3": f"{_ENGINE}: the API's own policy lets in the given blocks alone.",
    "APIG4": f"{_ENGINE}: GitHub signs what it sends and has no other way to prove itself; the function checks it.",
    "APIG6": f"{_ENGINE}: the function behind it logs every call that it takes.",
    "CB4": f"{_ENGINE}: the project's artifacts are an image, which ECR encrypts, or none.",
    "CB5": f"{_ENGINE}: the image is the account's own, by a repository that the template makes.",
    "COG4": f"{_ENGINE}: GitHub calls it and is no user of a Cognito pool; the function checks its signature.",
    "DDB3": f"{_ENGINE}: it holds which runner is for which job, for as long as the job runs.",
    "ECS4": f"{_ENGINE}: a task runs one job and ends; its log and the job's own say what it did.",
    "SF1": f"{_ENGINE}: executions hold runners' tokens; their history in the console is enough to find a failure.",
    "SF2": f"{_ENGINE}: what runs for a job is seen in the engine's metrics, and no trace goes beyond the launch.",
    "SMG4": f"{_ENGINE}: GitHub makes what is in it, and the setup page puts it there; nothing here could rotate it.",
    "SQS3": f"{_ENGINE}: a message is about one runner, and is worth nothing once that has gone.",
    "SQS4": f"{_ENGINE}: only functions of the stack use it, by AWS's client, which takes TLS.",
}


def acknowledge_engine(construct: IConstruct) -> None:
    """Answer the findings on what the engine has made in a construct."""
    for rule, reason in _REASONS.items():
        acknowledge(construct, rule, reason)
    acknowledge_engine_policies(construct)


def acknowledge_engine_policies(construct: IConstruct) -> None:
    """Answer the findings on the policies that the engine has made in a construct."""
    acknowledge_managed_policies(construct, f"{_ENGINE}: its functions and its image builds have AWS's own policies.")
    acknowledge_wildcards(construct, f"{_ENGINE}, and docs/runners.md says what its roles may do and why.")
