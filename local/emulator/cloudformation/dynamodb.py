"""DynamoDB tables."""

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _create(declaration: Declaration) -> Provisioned:
    name = declaration.name(255)
    table = declaration.aws.client("dynamodb").create_table(
        TableName=name,
        **only(declaration.properties, "AttributeDefinitions", "BillingMode", "KeySchema", "SSESpecification", "Tags"),
    )["TableDescription"]
    return Provisioned(name, {"Arn": table["TableArn"]})


def _delete(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("dynamodb").delete_table(TableName=physical_id)


TYPES = {"AWS::DynamoDB::Table": ResourceType(_create, _delete)}
