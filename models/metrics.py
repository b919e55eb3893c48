"""metrics.jsonl: what a run logged, one JSON object a line, "step" and "epoch" events in the order of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glorext.runtime.errors import DataError, GlorextError
from glorext.runtime.fields import Fields

METRICS = "metrics.jsonl"
NUMBERS = {"step": ("loss", "lr"), "epoch": ("loss", "top1", "val_loss")}


def read_metrics(path: Path, error: type[GlorextError] = DataError) -> list[dict[str, Any]]:
    """All events, each with "event" ("step" or "epoch"), "epoch" (from 1), and the numbers that were logged with it.

    `loss`, `lr` of a step, and `loss`, `top1` (a fraction), `val_loss` of an epoch are there in any case, None where
    nothing was logged; so are other keys as they stand in the file.

    Raises:
        GlorextError: of the class `error`: a line is not JSON, or one of these values is no number.
    """
    events = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        fields = Fields.parse(line, f"{path}, line {number}", error=error)
        event: dict[str, Any] = {"event": fields.one_of("event", *NUMBERS), "epoch": fields.count("epoch", 1)}
        for key in NUMBERS[event["event"]]:
            event[key] = fields.take(key, float, optional=True) if key in fields else None
        events.append(event | fields.rest())
    return events


def read_epochs(path: Path, error: type[GlorextError] = DataError) -> list[dict[str, Any]]:
    """The epochs among the events of `read_metrics`."""
    return [event for event in read_metrics(path, error) if event["event"] == "epoch"]
