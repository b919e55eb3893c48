"""What `glorext acceptance` found on a machine: its rows, and the file that holds them and shows when it was edited."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from glorext.deploy.doctor.finding import Finding
from glorext.runtime import DataError, env, write_json
from glorext.runtime.fields import Fields
from glorext.runtime.files import json_bytes, sha256_bytes

SCHEMA = "glorext.acceptance/1"
PASS, FAIL, NOT_RUN = "pass", "FAIL", "not run"
NOT_REACHED = "not reached: the command ended before it"
# Places that are the same on every machine, and so say nothing about this one.
PUBLIC = ("/dev/", "/proc/", "/usr/local/Ascend")
PATH = re.compile(r"(?<![\w.:/])(?:/[\w.+@%~-]+){2,}/?")


@dataclass(frozen=True)
class Number:
    """A number that was measured: `what`, its unit, and `on` which processor, by name."""

    what: str
    value: float
    unit: str
    on: str


@dataclass(frozen=True)
class Row:
    """One check.

    Attributes:
        name, title: what `--only` takes, and what the page says.
        demanded: the bound that it is held against.
        state: "pass", "FAIL" or "not run".
        found: what was found; of a row that did not pass, why.
        numbers: what was measured on the way.
        seconds: how long it took.
    """

    name: str
    title: str
    demanded: str
    state: str = NOT_RUN
    found: str = NOT_REACHED
    numbers: tuple[Number, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Acceptance:
    """All rows of one run of the command, and where they were measured.

    Attributes:
        short: whether networks and inputs were small.
        complete: whether the command came to its end.
        date: day of its start, UTC.
        glorext, commit: the version, and of a checkout the commit, with "-dirty" where files differ from it.
        device: "CPU", "GPU" or "Ascend", which MindSpore ran on.
        target: "cpu" or the family of chips, which offline inference ran on.
        card: the exact name of the chip or GPU; None where there is no card.
        devices: how many of them the rows used.
        processor: the computer's own, and `machine` what else it is: system, cores, Python, load.
        versions: of MindSpore and the like.
        findings: what `glorext doctor` says.
    """

    short: bool
    complete: bool
    date: str
    glorext: str
    commit: str | None
    device: str
    target: str
    card: str | None
    devices: int
    processor: str
    machine: dict[str, str]
    versions: dict[str, str]
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...] = field(default=())
    edited: bool = False

    @property
    def on(self) -> str:
        """What computed: the card's name, or the processor's."""
        return self.card or self.processor

    def named(self, state: str) -> list[Row]:
        """The rows of a state."""
        return [row for row in self.rows if row.state == state]

    @property
    def passed(self) -> bool:
        """Whether no row failed and the command came to its end."""
        return self.complete and not self.named(FAIL)

    def with_row(self, row: Row) -> Acceptance:
        """The same with `row` in the place of the one of its name."""
        return replace(self, rows=tuple(row if old.name == row.name else old for old in self.rows))

    def to_dict(self) -> dict:
        """All of it as JSON values without paths of this machine; "sha256" is the digest of the others."""
        values = asdict(self)
        del values["edited"]
        values = without_paths({"schema": SCHEMA, **values})
        return {**values, "sha256": _digest(values)}

    def write(self, path) -> None:
        """Write it as a whole, under its final name."""
        write_json(path, self.to_dict())


def _digest(values: dict) -> str:
    return sha256_bytes(json_bytes(json.loads(json.dumps({**values, "sha256": None}))))


def _shortened(text: str) -> str:
    for place in sorted({str(Path.home()), sys.prefix, tempfile.gettempdir(), str(env.cache_dir())}, key=len)[::-1]:
        if len(place) > 1:
            text = re.sub(rf"{re.escape(place)}(?=[/\s'\",;:)]|$)", "...", text)
    return PATH.sub(lambda path: path[0] if path[0].startswith(PUBLIC) else f".../{Path(path[0]).name}", text)


def without_paths(value):
    """JSON values in which no text holds a path of this machine: of each, its last part is left."""
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    return [without_paths(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_acceptance(path) -> Acceptance:
    """What `Acceptance.write` wrote; `edited` where it is not what was written.

    Raises:
        DataError: another file, or one whose fields are wrong.
    """
    path = Path(path)
    top = Fields.read(path, SCHEMA, do="`glorext acceptance` writes it.")
    found = Acceptance(
        short=top.take("short", bool),
        complete=top.take("complete", bool),
        date=top.matching("date", re.compile(r"\d{4}-\d\d-\d\d"), "a date of the form 2026-01-31"),
        glorext=top.take("glorext", str),
        commit=top.take("commit", str, optional=True),
        device=top.one_of("device", "CPU", "GPU", "Ascend"),
        target=top.take("target", str),
        card=top.take("card", str, optional=True),
        devices=top.count("devices", 1),
        processor=top.take("processor", str),
        machine=top.strings("machine"),
        versions=top.strings("versions"),
        findings=tuple(_finding(one) for one in top.inners("findings")),
        rows=tuple(_row(one) for one in top.inners("rows")),
    )
    digest = top.digest("sha256")
    top.done()
    if not found.rows:
        raise DataError(expected="at least one row", found="none", where=path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    return replace(found, edited=digest != _digest(whole))


def _finding(fields: Fields) -> Finding:
    found = Finding(
        *(fields.take("name", str), fields.one_of("state", "ok", "missing", "absent")),
        *(fields.take("found", str), fields.take("do", str)),
    )
    fields.done()
    return found


def _row(fields: Fields) -> Row:
    row = Row(
        name=fields.take("name", str),
        title=fields.take("title", str),
        demanded=fields.take("demanded", str),
        state=fields.one_of("state", PASS, FAIL, NOT_RUN),
        found=fields.take("found", str),
        numbers=tuple(_number(one) for one in fields.inners("numbers")),
        seconds=fields.take("seconds", float),
    )
    fields.done()
    return row


def _number(fields: Fields) -> Number:
    number = Number(
        fields.take("what", str), fields.take("value", float), fields.take("unit", str), fields.take("on", str)
    )
    fields.done()
    return number
