"""Where the official client of MindSpore Hub is, a folder `mindspore_hub`; glorext's own module is a single file."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

NAME = "mindspore_hub"
OURS = Path(__file__).with_name("mindspore_hub.py")


def official_client() -> ModuleSpec | None:
    """The installed official client, on whichever entry of `sys.path`; nothing is imported."""
    for entry in sys.path:
        spec = PathFinder.find_spec(NAME, [entry])
        # A folder without __init__.py, such as a working folder of that name, is no package that anyone installed.
        if spec is not None and spec.submodule_search_locations and spec.has_location:
            return spec
    return None
