"""Refuses cache options with which buildx would send this machine's own AWS credentials to the builder.

buildx looks for credentials wherever an option of type s3 does not name both keys, and BuildKit takes what it is sent
in place of the builder's role. Both keys, empty, keep them here.
"""

import csv

from buildkit_ops.failures import SENDS_CREDENTIALS, ToolError

_KEYS = ("access_key_id", "secret_access_key")
_SECRETS = (*_KEYS, "session_token")


def refuse_own_credentials(option: str) -> None:
    """Refuse a value of `--cache-from` or `--cache-to` that would take credentials along.

    Args:
        option: For example `type=s3,prefix=main/,name=app/main`, as buildx reads it.

    Raises:
        ToolError: It would. The words have the option as it should be, and no secret of the one that was given.
    """
    (fields,) = csv.reader([option])
    pairs = [(name.strip().lower(), value) for name, _, value in (field.partition("=") for field in fields)]
    if dict(pairs).get("type") != "s3":
        return
    given = dict(pairs)
    if all(given.get(key) == "" for key in _KEYS) and not given.get("session_token"):
        return
    kept = ",".join(f"{name}={value}" for name, value in pairs if name not in _SECRETS)
    raise ToolError(SENDS_CREDENTIALS, option=kept, mended=f"{kept},{_KEYS[0]}=,{_KEYS[1]}=")
