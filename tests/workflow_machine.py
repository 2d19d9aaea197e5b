"""A machine that runs workflows of GitHub Actions: nektos/act without containers, and GitHub's tokens for its jobs."""

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from local.client import DECOY_ACCESS_KEY
from local.deployment import REPOSITORY

WORKFLOWS = Path(__file__).parent / "workflows"
ISSUER = "token.actions.githubusercontent.com"
REQUEST_TOKEN = "request-token-of-the-runner"  # noqa: S105 - opens nothing but the server below


class TokenServer:
    """What a runner asks for a token that says what its job is: GitHub's, as a job sees it.

    Attributes:
        url: Where it is, as a job is told.
        subject: The claim `sub` of the next tokens.
        tokens: Those that were given out.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.subject = "repo:org/app:ref:refs/heads/main"
        self.tokens: list[str] = []

    def token(self, audience: str) -> str:
        """Make a token out to somebody."""
        claims = {"iss": f"https://{ISSUER}", "aud": audience, "sub": self.subject, "exp": time.time() + 300}
        parts = ({"alg": "RS256"}, {**claims, "jti": secrets.token_hex(8)})
        encoded = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts]
        token = ".".join((*encoded, secrets.token_urlsafe(32)))
        self.tokens.append(token)
        return token


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Serve tokens on this machine's own address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
            allowed = self.headers["Authorization"] == f"bearer {REQUEST_TOKEN}"
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"value": issuer.token(audience)} if allowed else {}).encode())

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = TokenServer(f"http://127.0.0.1:{server.server_port}/token?api-version=2.0")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


class WorkflowMachine:
    """Runs workflows in the working tree of a repository `org/app`.

    Args:
        directory: For all that it writes.
        act: The program.
        environment: What is in the environment of every job beside this machine's.

    Attributes:
        home: The home of who runs the jobs.
        tree: The working tree.
    """

    def __init__(self, directory: Path, act: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._act = act
        self.home = directory / "home"
        self.home.mkdir()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GITHUB_"))},
            "HOME": str(self.home),
            "PATH": f"{WORKFLOWS / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            **environment,
            "AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "decoy-secret",
        }
        self.tree = directory / "app"
        (self.tree / ".github" / "workflows").mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", "https://github.com/org/app.git")

    def run(
        self,
        workflow: Mapping[str, Any],
        *,
        variables: Mapping[str, str],
        environment: Mapping[str, str],
        actions: Mapping[str, Path],
    ) -> subprocess.CompletedProcess[str]:
        """Run a workflow for a push to the branch main.

        Args:
            workflow: The workflow, parsed.
            variables: The repository's variables.
            environment: What is in the environment of this run's job besides.
            actions: Where the actions that it uses are on this machine, by what it calls them.
        """
        (self.tree / ".github" / "workflows" / "image.yml").write_text(yaml.safe_dump(dict(workflow)))
        event = self.directory / "event.json"
        event.write_text(json.dumps({"repository": {"default_branch": "main", "full_name": "org/app"}}))
        self._git("add", "--all")
        self._git(
            "-c",
            "user.name=org",
            "-c",
            "user.email=org@example.com",
            "commit",
            "--quiet",
            "--allow-empty",
            "--message=Change",
        )
        return subprocess.run(
            [
                *(str(self._act), "push", "--action-offline-mode", "--no-cache-server"),
                *(f"--eventpath={event}", "--defaultbranch=main", "--platform=self-hosted=-self-hosted"),
                *(f"--var={name}={value}" for name, value in variables.items()),
                *(f"--env={name}={value}" for name, value in environment.items()),
                *(f"--local-repository={name}={path}" for name, path in actions.items()),
            ],
            cwd=self.tree,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def state(self) -> list[str]:
        """Return what jobs have left behind of the tool's in their user's home."""
        return [str(path) for path in (self.home / ".local" / "state" / "cdk-buildkit").rglob("*")]

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.tree, check=True, capture_output=True)


def workflows_of(page: str) -> list[dict[str, Any]]:
    """Return the workflows on a page of the documentation, parsed."""
    blocks = (REPOSITORY / page).read_text().split("```yaml\n")[1:]
    # YAML 1.1, which PyYAML reads, takes a bare `on` for true.
    return [
        {("on" if key is True else key): value for key, value in yaml.safe_load(block.partition("```")[0]).items()}
        for block in blocks
    ]
