"""Copy the Python that runs this to where a container without one can run it: what step_runtime.py needs, and no more.

`loader` is the dynamic loader, `python3` the interpreter; `libraries` has the shared libraries, `home` the modules.
"""

from __future__ import annotations

import json  # noqa: F401 - step_runtime.py needs it, so it is to be copied
import shutil
import sys
from pathlib import Path

_LOADER = "ld-linux"


def main() -> None:
    """Copy into the directory that is given."""
    copy(Path(sys.argv[1]))


def copy(directory: Path) -> None:
    """Copy the interpreter, with every library and module that this process has."""
    _copy(Path(sys.executable).resolve(), directory / "python3")
    for library in shared_libraries():
        if library.name.startswith(_LOADER):
            _copy(library, directory / "loader")
        for name in names_of(library):
            _copy(library, directory / "libraries" / name)
    for module in module_files():
        # Below the prefix each keeps its place: there the interpreter looks for it.
        _copy(module, directory / "home" / module.relative_to(sys.base_prefix))


def shared_libraries() -> list[Path]:
    """Return the shared libraries of this process, the dynamic loader among them."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}
    return sorted(
        path for path in paths if ".so" in path.name and path.parent.name != "lib-dynload"
    )  # those are modules


def names_of(library: Path) -> list[str]:
    """Return every name that a library has in its directory: programs ask for another than the file's own."""
    return sorted(each.name for each in library.parent.glob("*.so*") if each.resolve() == library)


def module_files() -> list[Path]:
    """Return the files of the modules of this process, and what they were compiled to."""
    names = {
        name
        for module in list(sys.modules.values())
        for name in (getattr(module, "__file__", None), getattr(module, "__cached__", None))
        if name
    }
    return [path for path in sorted(map(Path, names)) if Path(sys.base_prefix) in path.parents and path.exists()]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # With its time: what a module was compiled to is of one time.
    shutil.copy2(source, target)


if __name__ == "__main__":
    main()
