"""The volumes of a pod, as directories of this machine, and how its containers mount them."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.kubernetes.environment import expand
from local.kubernetes.objects import KubernetesError, Objects, check_fields, quantity

_FILE_MODE = 0o644
_DATA = "..data"
_REVISION = "..2026_01_01"


class Volumes:
    """A pod's volumes: made when the pod starts, gone when it does, but for its claims.

    Args:
        specification: The pod's `spec`.
        namespace: The pod's.
        objects: The cluster's, for config maps.
        directory: For the volumes of this pod.
        claims: For what outlives it, a directory for each claim.
    """

    def __init__(
        self, specification: Mapping[str, Any], namespace: str, objects: Objects, *, directory: Path, claims: Path
    ) -> None:
        self._namespace = namespace
        self._objects = objects
        self._directory = directory
        self._claims = claims
        self._group = specification.get("securityContext", {}).get("fsGroup")
        directory.mkdir(parents=True)
        self._mounted: list[Path] = []
        self._paths = {each["name"]: self._make(each) for each in specification.get("volumes", [])}

    def add(self, name: str, files: Mapping[str, str]) -> None:
        """Add a volume that the pod did not ask for, of files that it may only read."""
        self._paths[name] = self._write(name, {path: (text, _FILE_MODE) for path, text in files.items()})

    def mounts(self, container: Mapping[str, Any], variables: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return a container's mounts in the runtime's words.

        Raises:
            KubernetesError: A volume is not there, or a mount asks for what is not done here.
        """
        found = []
        for mount in container.get("volumeMounts", []):
            check_fields(
                mount,
                {"name", "mountPath", "readOnly", "subPath", "subPathExpr", "mountPropagation"},
                f"volumeMounts of {container['name']}",
            )
            if mount["name"] not in self._paths:
                raise KubernetesError(f"{container['name']}: there is no volume {mount['name']}")
            source = self._paths[mount["name"]]
            part = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
            if part:
                source = source / part
                if not source.exists():
                    source.mkdir(parents=True)
            read_only = mount.get("readOnly", False) or self._is_read_only(mount["name"])
            found.append(
                {
                    "destination": mount["mountPath"],
                    "type": "bind",
                    "source": str(source.resolve() if part else source),
                    "options": ["rbind", "rprivate", "ro" if read_only else "rw"],
                }
            )
        return found

    def remove(self) -> None:
        """Lose everything but the claims."""
        for path in reversed(self._mounted):
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        shutil.rmtree(self._directory)

    def _make(self, volume: Mapping[str, Any]) -> Path:
        name = volume["name"]
        match volume:
            case {"emptyDir": options}:
                return self._empty(name, options or {})
            case {"configMap": source}:
                return self._write(name, self._config_map(source))
            case {"persistentVolumeClaim": {"claimName": claim}}:
                path = self._claims / claim
                path.mkdir(parents=True, exist_ok=True)
                return self._owned(path)
            case {"projected": {"sources": sources}}:
                files: dict[str, tuple[str, int]] = {}
                for source in sources:
                    check_fields(source, {"configMap"}, f"volume {name}")
                    files.update(self._config_map({"defaultMode": _FILE_MODE, **source["configMap"]}))
                return self._write(name, files)
        raise KubernetesError(f"no meaning is known here for the volume {dict(volume)}")

    def _is_read_only(self, name: str) -> bool:
        return (self._paths[name] / _DATA).is_symlink()

    def _empty(self, name: str, options: Mapping[str, Any]) -> Path:
        check_fields(options, {"medium", "sizeLimit"}, f"emptyDir {name}")
        path = self._directory / name
        path.mkdir()
        if options.get("medium") == "Memory":
            size = f",size={int(quantity(options['sizeLimit']))}" if "sizeLimit" in options else ""
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=777{size}", "tmpfs", str(path)], check=True)
            self._mounted.append(path)
        path.chmod(0o777)
        return self._owned(path)

    def _owned(self, path: Path) -> Path:
        if self._group is not None:
            shutil.chown(path, group=self._group)
            path.chmod(path.stat().st_mode | 0o2070)
        return path

    def _config_map(self, source: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        check_fields(source, {"name", "items", "defaultMode"}, "a configMap")
        data = self._objects.get("ConfigMap", self._namespace, source["name"]).get("data", {})
        mode = source.get("defaultMode", _FILE_MODE)
        if "items" not in source:
            return {key: (text, mode) for key, text in data.items()}
        return {each["path"]: (data[each["key"]], each.get("mode", mode)) for each in source["items"]}

    def _write(self, name: str, files: Mapping[str, tuple[str, int]]) -> Path:
        # As the kubelet does, which changes all of them at once: each file is a link into a directory that is one too.
        path = self._directory / name
        revision = path / _REVISION
        for file, (text, mode) in files.items():
            target = revision / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(mode | (0o040 if self._group is not None else 0))
            if self._group is not None:
                shutil.chown(target, group=self._group)
            top = file.partition("/")[0]
            if not (path / top).is_symlink():
                (path / top).symlink_to(f"{_DATA}/{top}")
        revision.mkdir(parents=True, exist_ok=True)
        (path / _DATA).symlink_to(_REVISION)
        return path
