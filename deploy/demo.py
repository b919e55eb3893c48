"""The whole way once, on real pictures: every step is a command or a line that a user would type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import GlorextError, UsageError, version, write_json
from glorext.runtime.cli import parser
from glorext.runtime.fields import Fields

NAME, VERSION = "resnext50-digits", "1.0.0"
MIN_TOP1 = 0.97
RECORD = "demo.json"
LOAD = """import sys, mindspore, mindspore_hub
from glorext.hub import resolve
from glorext.models.preprocess import preprocess
net = mindspore_hub.load("resnext50-digits")
package = resolve("resnext50-digits")
logits = net(mindspore.Tensor(preprocess(sys.argv[1], package.input_spec)[None])).asnumpy()[0]
print("loaded", type(net).__name__, "by name;", sys.argv[1], "shows a", package.labels[logits.argmax()])
"""


@dataclass(frozen=True)
class Step:
    """One step: its title, and what a user would type for it."""

    title: str
    command: list[str]


def steps(out: Path) -> list[Step]:
    """The steps in their order; all their files go below `out`."""
    data, run, package, registry = out / "data", out / "run", out / "package", out / "registry"
    exported, converted = out / "exported", out / "converted"
    sample = data / "val" / "7"

    def glorext(words: str, *more):
        return [sys.executable, "-m", "glorext.runtime.cli", *words.split(), *map(str, more)]

    model = converted / f"{NAME}_lite.mindir"
    trained = ("--data", data / "train", "--val_dir", data / "val", "--out", run)
    named = ("--name", NAME, "--version", VERSION, "--license", "Apache-2.0", "--author", "glorext demo")
    evaluated = ("--data", data / "val", "--out", run / "eval.json", "--results", out / "mindspore")
    validated = ("--data", data / "val", "--results", out / "lite", "--reference", out / "mindspore")
    reported = ("--out", out / "validation.json", "--report", out / "report.html", "--parity")
    digits = "data: scikit-learn's handwritten digits as picture files"
    return [
        Step(digits, [sys.executable, "-m", "glorext.train.digits", str(data)]),
        Step("train resnext50 on them", glorext("train --recipe digits", *trained)),
        Step("evaluate the best checkpoint in MindSpore", glorext("eval", run, *evaluated)),
        Step("pack it, with the evidence", glorext("pack", run, *named, "--out", package)),
        Step("publish it to a registry folder", glorext("publish", package, "--to", registry)),
        Step("load it by name in a fresh process", [sys.executable, "-c", LOAD, str(sample)]),
        Step("export it as MINDIR and ONNX", glorext(f"export {NAME} --format mindir,onnx", "--out", exported)),
        Step("convert it with MindSpore Lite", glorext("convert", exported / f"{NAME}.mindir", "--out", converted)),
        Step("infer offline in C++", glorext("infer", model, "--data", data / "val", "--out", out / "lite")),
        Step(
            "check the accuracy and write the report",
            glorext(f"validate {NAME} --min_top1 {MIN_TOP1}", *validated, *reported),
        ),
    ]


def _typed(command: list[str]) -> str:
    here = Path.cwd()
    words = [str(Path(word).relative_to(here)) if word.startswith(f"{here}/") else word for word in command]
    if command[1:3] == ["-m", "glorext.runtime.cli"]:
        return " ".join(["glorext", *words[3:]])
    if command[1] == "-c":
        return "python -c \"import mindspore_hub; net = mindspore_hub.load('resnext50-digits') ...\""
    return " ".join(["python", *words[1:]])


def run(out: Path) -> dict[str, float]:
    """Run all steps into the new folder `out`; the seconds of each. The first step that fails ends the demo.

    Raises:
        UsageError: `out` holds something that no earlier demo wrote.
        GlorextError: a step failed; its own message stands above.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise UsageError(
                expected="a new folder, or that of an earlier demo",
                found="other files",
                where=out,
                do="Name another folder with --out.",
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RECORD, {"state": "running"})
    environment = {**os.environ, "GLOREXT_REGISTRIES": str(out / "registry"), "GLOG_v": os.environ.get("GLOG_v", "3")}  # noqa: SIM112
    times = {}
    todo = steps(out)
    for number, step in enumerate(todo, 1):
        print(f"\n[{number}/{len(todo)}] {step.title}\n$ {_typed(step.command)}", flush=True)
        command = step.command
        if "-c" in command:
            command = [*command[:-1], str(next(iter(sorted(Path(command[-1]).iterdir()))))]
        started = time.monotonic()
        status = subprocess.run(command, env=environment).returncode
        times[step.title] = time.monotonic() - started
        print(f"    {times[step.title]:.1f} s", flush=True)
        if status:
            raise GlorextError(
                f"step {number}, {step.title}, ended with status {status}; its message is above",
                do=f"What was made so far is in {out}.",
            )
    write_json(out / RECORD, {"state": "done", "seconds": times, "glorext": version()})
    return times


def main(argv: list[str]) -> int:
    """`glorext demo`."""
    arguments = parser(
        "demo",
        "Train, publish, load by name, convert, infer offline and check the accuracy, on "
        "1,797 real scans of digits; about six minutes on two cores.",
        "glorext demo --out demo_out",
    )
    arguments.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for all files (default demo_out)")
    out = arguments.parse_args(argv).out.absolute()
    times = run(out)
    validation = Fields.read(out / "validation.json", "glorext.validation/1")
    width = max(map(len, times))
    print(f"\n{'step':<{width}}  seconds")
    for title, seconds in times.items():
        print(f"{title:<{width}}  {seconds:7.1f}")
    print(f"{'all':<{width}}  {sum(times.values()):7.1f}\n")
    measured, mindspore = validation.inner("measured"), validation.inner("mindspore")
    reference, count = mindspore.inner("reference").fraction("top1"), measured.count("count")
    print(
        f"top-1: MindSpore {reference:.2%}, MindSpore Lite {measured.fraction('top1'):.2%} on {count} pictures\n"
        f"same answer: {mindspore.count('same')} of {count}; "
        f"logits at most {mindspore.take('max_difference', float):.1e} apart"
    )
    print(f"report: {out / 'report.html'}")
    return 0
