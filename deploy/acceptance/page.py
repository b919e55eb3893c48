"""One static HTML page of an acceptance, which needs no other file and no network."""

from __future__ import annotations

from pathlib import Path

from glorext.deploy.acceptance.record import Acceptance
from glorext.deploy.validate.report import environment
from glorext.runtime import atomic_path

# What only a card can show, by what was not there.
NOT_SHOWN = {
    "card": "that MindSpore trains on an Ascend or a GPU: precision, overflow as the chip shows it, speed, memory",
    "offline": "that a chip's compiler and arithmetic keep the answers: conversion for a card, prepared sizes, AIPP",
}


def not_shown(found: Acceptance) -> list[str]:
    """What this acceptance does not show, since the computer has no such card."""
    left = [NOT_SHOWN["card"]] if found.device == "CPU" else []
    return left + ([NOT_SHOWN["offline"]] if found.target == "cpu" else [])


def write_page(path: Path, found: Acceptance) -> None:
    """Write the page of `found`."""
    page = environment().get_template("acceptance.html.j2").render(a=found, not_shown=not_shown(found))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
