"""`glorext bench`: the best setting of a model on this machine, and latency over load, beside other runtimes."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from glorext.deploy.bench.page import write_page
from glorext.deploy.bench.runtimes import Runtime, Setting, runtimes
from glorext.deploy.convert.converter import convert
from glorext.deploy.export.exporter import export
from glorext.deploy.runners.common import LITE_DEVICES
from glorext.hub.open_model import open_model
from glorext.runtime import UsageError, get_logger, set_device, version, write_json
from glorext.runtime.cli import parser

logger = get_logger("deploy")
SCHEMA = "glorext.bench/1"
# Of the highest throughput. At nine tenths requests already wait for each other; beyond it the queue only grows.
FRACTIONS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0)
# A setting is tried for a part of the time that the best one is measured.
TRIAL = 0.4


@dataclass(frozen=True)
class Plan:
    """What is asked of every runtime; 0: tried out. `rates` are requests a second, without them FRACTIONS."""

    workers: int
    threads: int
    batch: int
    rates: tuple[float, ...]
    warmup: float
    seconds: float
    more: tuple[str, ...]


def search(runtime: Runtime, plan: Plan) -> tuple[Setting, Setting, list[dict]]:
    """The settings of the highest throughput and of the lowest latency of a single request, and what was tried."""
    settings = runtime.settings(plan.workers, plan.threads, plan.batch)
    alone = list(dict.fromkeys(Setting(1, each.threads, _least(runtime, plan)) for each in settings))
    if len(settings) == 1 and len(alone) == 1:
        return settings[0], alone[0], []
    tried = []
    for load, several in (("full", settings), ("single", alone)):
        for number, setting in enumerate(several, 1):
            found = runtime.measure(setting, [load], TRIAL * plan.warmup, TRIAL * plan.seconds, *plan.more)
            (row,) = found["loads"]
            tried.append({"setting": asdict(setting), **row, "memory_mb": found["memory_mb"]["most"]})
            value = f"{row['throughput']:.1f} a second" if load == "full" else f"p50 {row['latency_ms']['p50']:.1f} ms"
            logger.info("%s, %s, %d of %d: %s: %s", runtime.name, load, number, len(several), setting, value)
    full = max((row for row in tried if row["load"] == "full"), key=lambda row: row["throughput"])
    single = min((row for row in tried if row["load"] == "single"), key=lambda row: row["latency_ms"]["p50"])
    return _setting(full), _setting(single), tried


def _least(runtime: Runtime, plan: Plan) -> int:
    """The batch with which a single request is answered."""
    return plan.batch or min(each.batch for each in runtime.settings(1, 1, 0))


def _setting(row: dict) -> Setting:
    return Setting(**row["setting"])


def measure(runtime: Runtime, plan: Plan, layers: bool) -> dict:
    """Everything about one runtime: its settings, its loads, start, memory, stages and layers."""
    best, alone, tried = search(runtime, plan)
    full = runtime.measure(best, ["full"], plan.warmup, plan.seconds, *plan.more)
    highest = full["loads"][0]["throughput"]
    rates = [f"{rate:.6g}" for rate in plan.rates or [fraction * highest for fraction in FRACTIONS]]
    loads = runtime.measure(best, rates, plan.warmup, plan.seconds, *plan.more)["loads"]
    shown = ("--layers",) if layers and runtime.name == "MindSpore Lite" else ()
    single = runtime.measure(alone, ["single"], plan.warmup, plan.seconds, *plan.more, *shown)
    return {
        "runtime": runtime.name,
        "versions": full["versions"],
        "file": runtime.model.name,
        "sha256": runtime.artifact.sha256,
        "start_s": full["start_s"],
        "memory_mb": full["memory_mb"],
        "best": {"setting": asdict(best), **full["loads"][0]},
        "single": {"setting": asdict(alone), **single["loads"][0], "memory_mb": single["memory_mb"]["most"]},
        "rates": loads,
        "layers": single["layers"],
        "tried": tried,
    }


def machine() -> dict:
    """Processor, cores that this process may use, and memory."""
    words = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    named = [line.partition(":")[2].strip() for line in words.splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": named[0] if named else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 1e9, 1),
    }


def files_of(model: str, scratch: Path) -> list[Path]:
    """A model file itself; of a name, run, checkpoint or package what MindSpore Lite and ONNX runtimes take."""
    if Path(model).suffix in (".mindir", ".ms", ".onnx") and Path(model).is_file():
        return [Path(model)]
    set_device("CPU")
    source = open_model(model)
    mindir, onnx = export(source, scratch, ["mindir", "onnx"])
    return [scratch / convert(scratch / mindir.file, scratch, ["mindir"])[0].file, scratch / onnx.file]


def make_parser():
    """The flags of `glorext bench`."""
    flags = parser(
        "bench",
        "Measure throughput and latency: the best workers, threads and batch, and how latency grows with the load.",
        "glorext bench converted/resnext50-digits_lite.mindir exported/resnext50-digits.onnx --out bench/",
    )
    flags.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a converted model, an ONNX file for the runtimes that are installed, or a name, run or package: both",
    )
    flags.add_argument("--data", type=Path, help="pictures, from the file to the top five (default: the model alone)")
    flags.add_argument("--out", type=Path, help="folder for bench.json and bench.html")
    flags.add_argument("--device", type=str.lower, default="cpu", choices=LITE_DEVICES)
    flags.add_argument("--device_id", type=int, default=0)
    flags.add_argument("--workers", type=int, default=0, help="models that run at once (default: tried out)")
    flags.add_argument("--threads", type=int, default=0, help="threads of each (default: tried out)")
    flags.add_argument("--batch", type=int, default=0, help="inputs of a call, at most (default: tried out)")
    flags.add_argument(
        "--rates",
        help="requests a second, with commas between (default: tenths of the highest throughput); they come at random "
        "moments, whether or not the ones before are answered",
    )
    flags.add_argument("--warmup", type=float, default=1, help="seconds before each measurement (1)")
    flags.add_argument("--seconds", type=float, default=5, help="seconds of each measurement (5)")
    flags.add_argument("--layers", action="store_true", help="also the time of each layer, where the runtime tells")
    flags.add_argument("--json", action="store_true", help="print what was measured as JSON")
    return flags


def plan_of(options) -> Plan:
    """The plan that the flags ask for.

    Raises:
        UsageError: numbers that cannot be.
    """
    rates = []
    for word in (options.rates or "").split(",") if options.rates is not None else ():
        try:
            rates.append(float(word))
        except ValueError:
            rates.append(0)
        if not 0 < rates[-1] <= 1e6:
            raise UsageError(expected="requests a second, with commas between", found=word, where="--rates")
    for name, least in (("workers", 0), ("threads", 0), ("batch", 0), ("warmup", 0)):
        if getattr(options, name) < least:
            raise UsageError(expected=f"{least} or more", found=getattr(options, name), where=f"--{name}")
    if not 0 < options.seconds <= 3600:
        raise UsageError(expected="more than 0, up to an hour", found=options.seconds, where="--seconds")
    more = ("--images", str(options.data)) if options.data else ()
    return Plan(options.workers, options.threads, options.batch, tuple(rates), options.warmup, options.seconds, more)


def main(argv: list[str]) -> int:
    """`glorext bench`."""
    options = make_parser().parse_args(argv)
    plan = plan_of(options)
    if options.data and not options.data.is_dir():
        raise UsageError(expected="a folder of pictures", found="none", where=options.data)
    with tempfile.TemporaryDirectory(prefix="glorext-bench-") as scratch:
        several = [
            runtime
            for model in options.models
            for file in files_of(model, Path(scratch))
            for runtime in runtimes(file, options.device, options.device_id)
        ]
        found = [measure(runtime, plan, options.layers) for runtime in several]
    report = {
        "schema": SCHEMA,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "model": several[0].artifact.name,
        "input": "pictures" if options.data else "random values",
        "device": options.device,
        "machine": machine(),
        "warmup_s": plan.warmup,
        "seconds": plan.seconds,
        "runtimes": found,
        "versions": {"glorext": version()},
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "bench.json", report)
        write_page(options.out / "bench.html", report)
        logger.info("wrote %s and bench.json", options.out / "bench.html")
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report, sys.stdout)
    return 0


def print_table(report: dict, to) -> None:
    """What was measured, for people."""

    def ms(value) -> str:
        return "-" if value is None else f"{value:.1f}"

    here = report["machine"]
    print(f"{report['model']}, {report['input']}, on {here['processor']}, {here['cores']} cores", file=to)
    for found in report["runtimes"]:
        best, single = found["best"], found["single"]
        print(f"\n{found['runtime']} {' '.join(found['versions'].values())}, {found['file']}", file=to)
        print(f"  most     {best['throughput']:.1f} a second with {_setting(best)}", file=to)
        print(f"  alone    p50 {ms(single['latency_ms']['p50'])} ms with {_setting(single)}", file=to)
        memory = found["memory_mb"]
        print(f"  memory   {memory['most']:.0f} MB; start {found['start_s']:.1f} s", file=to)
        print("  requests/s  answered/s  p50 ms  p90 ms  p99 ms  p99.9 ms  of them waiting, mean", file=to)
        for row in found["rates"]:
            latency = row["latency_ms"]
            texts = [ms(latency.get(name)) for name in ("p50", "p90", "p99", "p99.9")]
            print(
                f"  {row['rate']:10.1f}  {row['throughput']:10.1f}  {texts[0]:>6}  {texts[1]:>6}  {texts[2]:>6}  "
                f"{texts[3]:>8}  {ms(row['stages_ms']['wait'])}",
                file=to,
            )
