"""One thing that the doctor checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: ok, missing (something fails without it) or absent (only an option is gone)."""

    name: str
    state: str
    found: str
    do: str = ""
