"""Put the fleet's server certificate where buildkitd reads it: on a tmpfs, never on a disk.

Runs on the builder with the AMI's own Python 3.9 and AWS command line tool.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

DIRECTORY = Path("/run/buildkit-tls")
FILES = ("ca.crt", "tls.crt", "tls.key")


def main() -> None:
    """Fetch the secret that CERTIFICATE_SECRET names, and write its three PEM files."""
    secret = os.environ["CERTIFICATE_SECRET"]
    command = ["aws", "--region", os.environ["AWS_REGION"], "secretsmanager", "get-secret-value", "--secret-id", secret]
    answer = subprocess.run(
        [*command, "--query", "SecretString", "--output", "text"], check=True, stdout=subprocess.PIPE, text=True
    )
    try:
        certificate = json.loads(answer.stdout)
        contents = {name: certificate[name] for name in FILES}
    except (ValueError, KeyError, TypeError):
        # The value itself must not reach a log.
        sys.exit(f"the secret {secret} must be a JSON object with the keys {', '.join(FILES)}, each a PEM text")
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    for name, content in contents.items():
        path = DIRECTORY / name
        path.touch(mode=0o600)
        path.write_text(content)


if __name__ == "__main__":
    main()
