"""`make evidence`: the readmes' table of hardware, from the table of chips and the files in evidence/."""

from __future__ import annotations

import sys
from pathlib import Path

from glorext.deploy.acceptance.record import FAIL, NOT_RUN, PASS, Acceptance, read_acceptance
from glorext.runtime import DataError, UsageError, atomic_path
from glorext.runtime.chips import CHIPS, Chip, family_of, find_chip
from glorext.runtime.cli import run

PROGRAM = "python -m glorext.deploy.acceptance.hardware"
EVIDENCE = "evidence"
BEGIN, END = "<!-- hardware: written by make evidence -->", "<!-- hardware: end -->"
GPU, CPU = "GPU", "CPU"
# The chip as which the tests run offline inference on the stand-in for AscendCL.
STANDS_IN = "310P3"
# GPU: what MindSpore's wheel is linked to (see the doctor).
OF_GPU = "MindSpore 2.10, CUDA 11, cuDNN 8, compute capability 6.0 to 8.9, later ones through PTX"
ENGLISH = {
    "heads": ("hardware", "documented for", "on a stand-in for AscendCL", "measured"),
    "stand-in": "the host's side of offline inference, as {chip}",
    "other chip": "only as {chip}, by the same code",
    "nothing": "nothing is documented",
    "not measured": "not measured",
    "none": "nothing",
    "rows": "{date}, glorext {version}, on {on}: {passed} rows passed, {failed}{not_run} not run ({file})",
    "failed": "{count} FAILED ({names}), ",
    "edited": "{file} says {date}, {on}, but was edited after it was written: it does not count",
    "short": "short form, ",
    "incomplete": "stopped before its end, ",
}
CHINESE = {
    "heads": ("硬件", "文档所载版本", "在 AscendCL 替身上", "实测"),
    "stand-in": "离线推理的主机一侧，作为 {chip}",
    "other chip": "仅作为 {chip}，代码相同",
    "nothing": "文档没有记载",
    "not measured": "未测量",
    "none": "没有",
    "rows": "{date}，glorext {version}，{on}：{passed} 项通过，{failed}{not_run} 项未运行（{file}）",
    "failed": "{count} 项失败（{names}），",
    "edited": "{file} 称 {date}、{on}，但写成后被改动过，不计入",
    "short": "简短形式，",
    "incomplete": "中途停止，",
}
# Words of the table of chips, in Chinese.
TRANSLATED = {
    "up to ": "最高 ",
    ", without custom operators": "，不含自定义算子",
    " with CANN": " 配 CANN",
    " to ": " 至 ",
    " training products": " 训练系列产品",
    " inference products": " 推理系列产品",
    " products": " 系列产品",
    "compute capability": "计算能力",
    ", later ones through PTX": "，更高者经 PTX",
}


def series() -> dict[tuple[str, str], tuple[Chip, ...]]:
    """The chips by (family, series of products), in the order of the table of chips."""
    found: dict[tuple[str, str], tuple[Chip, ...]] = {}
    for chip in CHIPS:
        key = (chip.family, chip.sold_as)
        found[key] = (*found.get(key, ()), chip)
    return found


def row_of(found: Acceptance) -> tuple[str, str]:
    """The key of the row that an acceptance belongs to: a series of chips, GPU or CPU."""
    if found.card is None:
        return (CPU, "")
    if found.device == GPU:
        return (GPU, "")
    chip = find_chip(found.card)
    if chip:
        return (chip.family, chip.sold_as)
    return (family_of(found.card) or found.card, "")


def read_evidence(folder: Path) -> dict[str, Acceptance]:
    """Every acceptance in the folder by its file's name, in the order of names.

    Raises:
        DataError: a file is none.
    """
    return {path.name: read_acceptance(path) for path in sorted(Path(folder).glob("*.json"))}


def _documented(chips: tuple[Chip, ...], words: dict[str, str]) -> str:
    return chips[0].documented or words["nothing"]


def _measured(name: str, found: Acceptance, words: dict[str, str]) -> str:
    link, failed = f"[{name}]({EVIDENCE}/{name})", found.named(FAIL)
    if found.edited:
        return words["edited"].format(file=link, date=found.date, on=found.on)
    version = f"{found.glorext} ({found.commit})" if found.commit else found.glorext
    text = words["rows"].format(
        date=found.date,
        version=version,
        on=f"{found.devices} x {found.card} ({found.processor})" if found.card else found.processor,
        passed=len(found.named(PASS)),
        failed=words["failed"].format(count=len(failed), names=", ".join(row.name for row in failed)) if failed else "",
        not_run=len(found.named(NOT_RUN)),
        file=link,
    )
    return words["incomplete"] * (not found.complete) + words["short"] * found.short + text


def table(evidence: dict[str, Acceptance], words: dict) -> str:
    """The table in Markdown; `words` is ENGLISH or CHINESE."""
    rows: dict[tuple[str, str], list[str]] = {}
    for key, chips in series().items():
        names = ", ".join(chip.name for chip in chips)
        own = "stand-in" if STANDS_IN in names.split(", ") else "other chip"
        rows[key] = [f"{key[1]}: {names}", _documented(chips, words), words[own].format(chip=f"Ascend{STANDS_IN}")]
    rows[GPU, ""] = ["GPU (x86_64)", OF_GPU, words["none"]]
    rows[CPU, ""] = ["CPU", "MindSpore 2.10, MindSpore Lite 2.0", words["none"]]
    measured: dict[tuple[str, str], list[str]] = {}
    for name, found in evidence.items():
        measured.setdefault(row_of(found), []).append(_measured(name, found, words))
    for family, sold_as in measured:
        rows.setdefault((family, sold_as), [family, words["nothing"], words["none"]])
    lines = [words["heads"], ["---"] * 4]
    for key, cells in rows.items():
        cells = [_translated(cell) for cell in cells] if words is CHINESE else cells
        lines.append([*cells, "; ".join(measured.get(key, [words["not measured"]]))])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _translated(text: str) -> str:
    for english, chinese in TRANSLATED.items():
        text = text.replace(english, chinese)
    return text


def with_table(text: str, evidence: dict[str, Acceptance], words: dict, where="") -> str:
    """A readme's text with the table between its marks.

    Raises:
        DataError: the marks are not there, once each and in their order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(expected=f"{BEGIN} and {END}, once each", found="other marks", where=where)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(evidence, words)}{END}{rest.split(END)[1]}"


def main(argv: list[str]) -> int:
    """`python -m glorext.deploy.acceptance.hardware CHECKOUT`."""
    if len(argv) != 1:
        raise UsageError(f"usage: {PROGRAM} CHECKOUT")
    root = Path(argv[0])
    evidence = read_evidence(root / EVIDENCE)
    for name, words in (("README.md", ENGLISH), ("README_CN.md", CHINESE)):
        text = with_table((root / name).read_text(encoding="utf-8"), evidence, words, root / name)
        with atomic_path(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{len(evidence)} files of evidence")
    return 0


if __name__ == "__main__":
    sys.exit(run(PROGRAM, lambda: main(sys.argv[1:])))
