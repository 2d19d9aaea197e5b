"""A Kubernetes API server on this machine, as far as the buildx driver goes: it keeps objects, writes calls down, and
lets through what a Role allows.
"""

import contextlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from local.kubernetes_objects import decode, install_decoder

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1/namespaces/(?P<namespace>[^/]+)/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?"
)

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}


class Call(NamedTuple):
    """What is asked, in the words of a Role's rules; `resource` with the subresource."""

    namespace: str
    verb: str
    group: str
    resource: str


def allows(role: Mapping[str, Any], call: Call) -> bool:
    """Tell whether a Role's rules allow a call in its own namespace, as Kubernetes' RBAC does: any of them, in full."""
    return call.namespace == role["metadata"]["namespace"] and any(
        not rule.get("resourceNames")
        and _among(call.verb, rule["verbs"])
        and _among(call.group, rule["apiGroups"])
        and _among(call.resource, rule["resources"])
        for rule in role["rules"]
    )


def _among(name: str, names: list[str]) -> bool:
    return name in names or "*" in names


class KubernetesApi:
    """Answers on 127.0.0.1 as long as the `with` block lasts. What is created is ready at once, and runs one pod.

    Args:
        role: The Role of whoever calls.
    """

    def __init__(self, role: Mapping[str, Any]) -> None:
        self._role = role
        self._decoder = install_decoder()
        self.calls: list[Call] = []
        """In their order."""
        self.created: list[dict[str, Any]] = []
        """What was sent to be created, as it was sent."""
        self._objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, answer = api.answer(self.command, self.path.partition("?")[0], self.rfile.read(length))
                encoded = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # a client that has failed elsewhere does not wait
                    self.wfile.write(encoded)

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def write_kubeconfig(self, path: Path) -> None:
        """Write what leads a client here. JSON is YAML."""
        server = f"http://127.0.0.1:{self._server.server_port}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": server}}],
            "users": [{"name": "somebody", "user": {"token": "somebody"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "somebody"}}],
            "current-context": "here",
        }
        path.write_text(json.dumps(config))

    def answer(self, method: str, path: str, sent: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Write one call down, and carry it out where the Role allows it."""
        match = _PATH.fullmatch(path)
        assert match, path
        resource, subresource = match["resource"], match["subresource"]
        call = Call(
            namespace=match["namespace"],
            verb="list" if method == "GET" and not match["name"] else _VERBS[method],
            group=match["group"] or "",
            resource=f"{resource}/{subresource}" if subresource else resource,
        )
        self.calls.append(call)
        if not allows(self._role, call):
            return _status(403, "Forbidden")
        if subresource:  # a connection to a pod; there is none behind it
            return _status(500, "InternalError")
        return self._carry_out(call, match["name"], decode(self._decoder, sent) if method in ("POST", "PUT") else {})

    def _carry_out(self, call: Call, name: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        key = (call.namespace, call.resource, name or body.get("metadata", {}).get("name", ""))
        match call.verb:
            case "list":
                return 200, {"apiVersion": "v1", "kind": "PodList", "items": self._pods(call.namespace)}
            case "create" if key in self._objects:
                return _status(409, "AlreadyExists")
            case "create":
                self.created.append(body)
                self._objects[key] = body | {"status": {"readyReplicas": body.get("spec", {}).get("replicas")}}
                return 201, self._objects[key]
            case _ if key not in self._objects:
                return _status(404, "NotFound")
            case "update":
                self._objects[key] = body
            case "delete":
                del self._objects[key]
                return _status(200, "")
        return 200, self._objects[key]

    def _pods(self, namespace: str) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": f"{name}-0", "namespace": namespace, **_labels(workload)},
                "spec": workload["spec"]["template"]["spec"],
                "status": {"phase": "Running"},
            }
            for (its_namespace, resource, name), workload in self._objects.items()
            if its_namespace == namespace and resource in ("deployments", "statefulsets")
        ]


def _labels(workload: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = workload["spec"]["template"]["metadata"]
    return metadata


def _status(code: int, reason: str) -> tuple[int, dict[str, Any]]:
    words = "Success" if code == 200 else "Failure"
    return code, {
        "apiVersion": "v1",
        "kind": "Status",
        "status": words,
        "reason": reason,
        "message": reason,
        "code": code,
    }
