"""Keeps what moto leaves out of a function's configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from moto.awslambda.models import LambdaFunction

from local.emulator.replacing import replace

_LOGGING = "_logging_config"  # an attribute that moto's class does not have


def mend() -> None:
    """Mend this process's moto."""
    replace(LambdaFunction, "__init__", _keeping_logging(LambdaFunction.__init__))
    replace(LambdaFunction, "get_configuration", _telling_logging(LambdaFunction.get_configuration))
    replace(LambdaFunction, "update_configuration", _updating_all(LambdaFunction.update_configuration))
    replace(LambdaFunction, "update_function_code", _updating_architectures(LambdaFunction.update_function_code))


def logging_config(function: LambdaFunction) -> Mapping[str, str]:
    """Return where a function logs."""
    config: Mapping[str, str] = vars(function)[_LOGGING]
    return config


def _keeping_logging(initialize: Callable[..., None]) -> Callable[..., None]:
    def wrapper(function: LambdaFunction, account_id: str, spec: dict[str, Any], region: str, version: str) -> None:
        vars(function)[_LOGGING] = spec.get("LoggingConfig", {})
        initialize(function, account_id, spec, region, version)

    return wrapper


def _telling_logging(describe: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def wrapper(function: LambdaFunction, *, on_create: bool = False) -> dict[str, Any]:
        return describe(function, on_create=on_create) | {"LoggingConfig": logging_config(function)}

    return wrapper


def _updating_all(update: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def wrapper(function: LambdaFunction, config_updates: dict[str, Any]) -> dict[str, Any]:
        if "LoggingConfig" in config_updates:
            vars(function)[_LOGGING] = config_updates["LoggingConfig"]
        if "EphemeralStorage" in config_updates:
            function.ephemeral_storage = config_updates["EphemeralStorage"]["Size"]
        return update(function, config_updates)

    return wrapper


def _updating_architectures(update: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def wrapper(function: LambdaFunction, updated_spec: dict[str, Any]) -> dict[str, Any]:
        if "Architectures" in updated_spec:
            function.architectures = updated_spec["Architectures"]
        return update(function, updated_spec)

    return wrapper
