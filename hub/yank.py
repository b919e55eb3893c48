"""`glorext yank`: see `glorext.hub.notices`."""

from __future__ import annotations

from .notices import command


def main(argv: list[str]) -> None:
    """`glorext yank NAME@VERSION --reason TEXT --registry FOLDER`."""
    command(
        "yank",
        "yanked",
        "Take a published version back. `load NAME` passes over it; who asks for exactly this version still gets it, "
        "with a warning that holds the reason. Its files stay.",
        argv,
    )
