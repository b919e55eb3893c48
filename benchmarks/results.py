"""The files in benchmarks/results/, and the readmes' table that is made from them.

A file holds what was measured on one machine on one day. In the table stands of each machine the newest measurement of
each row; until every row was measured somewhere, the readmes keep what stands between the marks.
"""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import DataError, atomic_path, write_json
from glorext.runtime.fields import Fields

SCHEMA = "glorext.benchmarks/1"
ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
BEGIN, END = "<!-- benchmarks: written by make bench -->", "<!-- benchmarks: end -->"
# (benchmark, what) of each row of the table, and what it is called in it.
SHOWN = {
    ("infer", "JPEG to top-5"): (
        "`resnext50`, JPEG to top-5 in C++ with MindSpore Lite",
        "`resnext50`，从 JPEG 到 top-5，C++ 与 MindSpore Lite",
    ),
    ("train", "resnext50"): ("training `resnext50`, 224x224, batch 8", "训练 `resnext50`，224x224，批 8"),
    ("train", "glore_res50"): ("training `glore_res50`, 224x224, batch 8", "训练 `glore_res50`，224x224，批 8"),
    ("input", "eval"): ("input pipeline, evaluation", "数据流水线，评估"),
    ("input", "train"): ("input pipeline, training", "数据流水线，训练"),
    ("download", "cold download"): (
        "download of a 100 MB package, every byte hashed",
        "下载 100 MB 的模型包，每个字节都校验",
    ),
    ("warm_load", "load from the cache"): (
        "loading a 100 MB package from the cache, hashed",
        "从缓存加载 100 MB 的模型包，经过校验",
    ),
}
ENGLISH = {
    "intro": "Measured by `make bench`, each beside its peer in the same run; a ratio above 1 is in favor of glorext:",
    "heads": "| what | machine | glorext | peer | ratio |",
    "machine": "{processor}, {cores} cores, {avx}",
    "peer": "{peer}: {value}",
    "units": {},
}
CHINESE = {
    "intro": "由 `make bench` 测得，对照方在同一次运行中测量；比值大于 1 表示 glorext 更好：",
    "heads": "| 项目 | 机器 | glorext | 对照方 | 比值 |",
    "machine": "{processor}，{cores} 核，{avx}",
    "peer": "{peer}：{value}",
    "units": {"pictures/s": "张/秒", "pictures/s a core": "张/秒/核", "s/step": "秒/步", "s": "秒", "MB/s": "MB/秒"},
}


@dataclass(frozen=True)
class Results:
    """A file: the day (UTC), the machine, and for each benchmark its JSON object (see `measured.hand_over`)."""

    date: str
    machine: dict
    benchmarks: dict[str, dict]

    @property
    def name(self) -> str:
        """What the file is called."""
        words = f"{self.machine['processor']} {self.machine['cores']} cores"
        return f"{self.date}-{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}.json"

    def write(self, folder: Path) -> Path:
        """Write it as a whole; what the day's file says of other benchmarks stays."""
        folder.mkdir(parents=True, exist_ok=True)
        path, before = folder / self.name, {}
        if path.exists():
            before = read(path).benchmarks
        merged = {"benchmarks": before | self.benchmarks, "date": self.date, "machine": self.machine, "schema": SCHEMA}
        write_json(path, merged)
        return path


def this_machine() -> dict:
    """Processor as lscpu names it, cores that this process may use, AVX level, memory in GB, system, load."""
    done = subprocess.run(["lscpu"], stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"LC_ALL": "C"})
    said = dict(re.findall(r"^([^:]+):\s*(.+?)\s*$", done.stdout, re.M))
    flags = set(said.get("Flags", "").split())
    levels = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return {
        "processor": said.get("Model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "avx": next((level for flag, level in levels.items() if flag in flags), "no AVX"),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def read(path: Path) -> Results:
    """A file that `Results.write` wrote.

    Raises:
        DataError: another file, or one whose fields are wrong.
    """
    top = Fields.read(path, SCHEMA, do="`make bench` writes it.")
    date = top.matching("date", re.compile(r"\d{4}-\d\d-\d\d"), "a date of the form 2026-01-31")
    machine = top.take("machine", dict)
    one = Fields(machine, f"{path}: machine")
    for key, kind in (("processor", str), ("avx", str), ("system", str), ("memory_gb", int), ("load", float)):
        one.take(key, kind)
    one.count("cores", 1)
    one.done()
    benchmarks = top.take("benchmarks", dict)
    top.done()
    for name, value in benchmarks.items():
        _check(Fields(value, f"{path}: benchmarks.{name}"))
    return Results(date, machine, benchmarks)


def _check(entry: Fields) -> None:
    entry.take("claim", str)
    entry.take("skipped", str, optional=True)
    entry.strings("versions")
    for row in entry.inners("rows"):
        row.take("what", str), row.take("unit", str), row.one_of("better", "more", "less")
        row.take("glorext", float), row.take("peer", str, optional=True)
        row.take("peer_value", float, optional=True), row.take("ratio", float, optional=True)
        row.done()
    entry.done()


def read_all(folder: Path = RESULTS) -> list[Results]:
    """Every file of the folder, the oldest first."""
    return [read(path) for path in sorted(Path(folder).glob("*.json"))]


def rows(found: list[Results]) -> dict[tuple[str, str], dict[tuple, dict]]:
    """For each row of the table that has a peer: the newest measurement of each machine."""
    shown: dict[tuple[str, str], dict[tuple, dict]] = {key: {} for key in SHOWN}
    for one in sorted(found, key=lambda each: each.date):
        machine = tuple(one.machine[key] for key in ("processor", "cores", "avx"))
        for name, entry in one.benchmarks.items():
            for row in entry["rows"]:
                if (name, row["what"]) in shown and row["ratio"] is not None:
                    shown[name, row["what"]][machine] = row
    return shown


def _amount(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(found: list[Results], words: dict) -> str | None:
    """The table in Markdown, `words` is ENGLISH or CHINESE; None while a row was measured on no machine."""
    shown = rows(found)
    if not all(shown.values()):
        return None
    lines = [words["intro"], "", words["heads"], "|---|---|---|---|---|"]
    for key, measured in shown.items():
        for (processor, cores, avx), row in sorted(measured.items()):
            unit = words["units"].get(row["unit"], row["unit"])
            cells = [
                SHOWN[key][words is CHINESE],
                words["machine"].format(processor=processor, cores=cores, avx=avx),
                f"{_amount(row['glorext'])} {unit}",
                words["peer"].format(peer=row["peer"], value=_amount(row["peer_value"])),
                f"{row['ratio']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(text: str, found: list[Results], words: dict, where="") -> str:
    """A readme's text with the table between its marks, or as it is while the table would lack a row.

    Raises:
        DataError: the marks are not there, once each and in their order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(expected=f"{BEGIN} and {END}, once each", found="other marks", where=where)
    made = table(found, words)
    if made is None:
        return text
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{made}{END}{rest.split(END)[1]}"


def write_readmes(root: Path = ROOT, folder: Path = RESULTS) -> list[tuple[str, str]]:
    """Write the table into both readmes; which of its rows no machine has measured yet, so that nothing was written."""
    found = read_all(folder)
    for name, words in (("README.md", ENGLISH), ("README_CN.md", CHINESE)):
        path = root / name
        before = path.read_text(encoding="utf-8")
        text = with_table(before, found, words, path)
        if text != before:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return [key for key, measured in rows(found).items() if not measured]
