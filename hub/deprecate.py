"""`glorext deprecate`: see `glorext.hub.notices`."""

from __future__ import annotations

from .notices import command


def main(argv: list[str]) -> None:
    """`glorext deprecate NAME@VERSION --reason TEXT --registry FOLDER`."""
    command(
        "deprecate",
        "deprecated",
        "Mark a published version as deprecated: whoever loads it gets it, with a warning that holds the reason.",
        argv,
    )
