"""Write to the journal: JSON objects, one a line, for metric filters."""

from __future__ import annotations

import json


def log(event: str, **details: object) -> None:
    """Log an event and its details."""
    print(json.dumps({"event": event, **details}), flush=True)  # noqa: T201 - the journal is where it goes
