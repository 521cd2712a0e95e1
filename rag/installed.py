"""Which version of the program is installed."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """The version of the installed distribution; a checkout that is not installed has none."""
    try:
        return importlib.metadata.version("vauban")
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"
