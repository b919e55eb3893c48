"""`glorext acceptance`: everything that needs the device, with bounds, and what was found as a file and a page."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from glorext.deploy.acceptance import isolated
from glorext.deploy.acceptance.checks import Check, checks
from glorext.deploy.acceptance.page import write_page
from glorext.deploy.acceptance.record import FAIL, NOT_RUN, PASS, Acceptance, Row, read_acceptance
from glorext.deploy.acceptance.worker import Job
from glorext.deploy.doctor import training
from glorext.deploy.doctor.examine import examine
from glorext.deploy.runners import ascend_host
from glorext.deploy.runners.ascend_host import AscendHost
from glorext.deploy.runners.common import LITE_DEVICES
from glorext.deploy.validate.report import machine
from glorext.runtime import SetupError, UsageError, version
from glorext.runtime.chips import find_chip
from glorext.runtime.cli import parser
from glorext.runtime.device import DEVICES, device_name
from glorext.train.evaluate import versions

FILE, PAGE = "acceptance.json", "acceptance.html"
LIMIT, MOST_DEVICES = 600, 8


def main(argv: list[str]) -> int:
    """`glorext acceptance`: exit status 0 only when no row failed."""
    options = _options(argv)
    host = ascend_host.look()
    with tempfile.TemporaryDirectory(prefix="glorext-acceptance-") as scratch:
        job, found = begun(options, host, Path(scratch))
        job.write()
        table = checks(job)
        wanted = _wanted(table, options.only)
        found = replace(found, rows=tuple(_open_row(check, check.name in wanted) for check in table))
        todo = [check for check in table if check.name in wanted]
        found = accept(job, found, todo, options.out.absolute(), options.limit)
    found = replace(found, complete=True, machine={**found.machine, "load at the end": _load()})
    keep(found, options.out)
    count = {state: len(found.named(state)) for state in (PASS, FAIL, NOT_RUN)}
    print(f"{count[PASS]} passed, {count[FAIL]} failed, {count[NOT_RUN]} not run: {options.out / PAGE}")
    return 0 if found.passed else 1


def _options(argv: list[str]):
    flags = parser(
        "acceptance",
        "Run everything that needs the device, hold it against bounds, and write acceptance.json and a page: on a "
        "machine with an Ascend card or a GPU, or on the CPU.",
        "glorext acceptance --out acceptance_out",
    )
    flags.add_argument("--out", type=Path, default=Path("acceptance_out"), help="folder for the file, the page, logs")
    flags.add_argument("--short", action="store_true", help="small networks and inputs, not all rows: a minute")
    flags.add_argument(
        "--device",
        dest="device_target",
        type=device_name,
        choices=("auto", *DEVICES),
        default="auto",
        help="what trains (default auto)",
    )
    flags.add_argument("--target", choices=("auto", *LITE_DEVICES), default="auto", help="what infers (default auto)")
    flags.add_argument("--devices", type=int, help=f"how many train together (default all, up to {MOST_DEVICES})")
    flags.add_argument("--only", help="comma list of rows; those that they need run too")
    flags.add_argument("--limit", type=float, default=LIMIT, help=f"seconds for a row (default {LIMIT})")
    options = flags.parse_args(argv)
    if (options.devices is not None and options.devices < 1) or options.limit <= 0:
        raise UsageError(expected="at least one device and more than 0 seconds", found="less")
    return options


def begun(options, host: AscendHost, scratch: Path) -> tuple[Job, Acceptance]:
    """The job of the flags on this machine, and its record without rows."""
    try:
        known = versions()
    except ImportError as error:
        raise SetupError(str(error), do="Install MindSpore; `glorext doctor` says how.") from error
    here, chip = machine(), find_chip(host.soc)
    nvidia = training.gpu_cards("nvidia-smi")
    device, count, name = "CPU", 2 if (os.cpu_count() or 1) > 1 else 1, None
    if host.devices and not (chip and not chip.trains):
        device, count, name = "Ascend", host.devices, host.soc or "an Ascend chip that does not say its name"
    elif nvidia:
        device, count, name = "GPU", len(nvidia), nvidia[0][0]
    if options.device_target not in ("auto", device):
        device, count = options.device_target, 1
        name = None if device == "CPU" else f"{device}, of which none was found"
    target = (host.target if host.devices else None) or "cpu"
    target = target if options.target == "auto" else options.target
    card = (host.soc or target) if host.devices and target != "cpu" else None
    count = options.devices or min(count, MOST_DEVICES)
    own = here["processor"]
    job = Job(str(scratch), device, target, count, name or own, card or own, own, options.short)
    found = Acceptance(
        short=options.short,
        complete=False,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        glorext=version(),
        commit=_commit(),
        device=device,
        target=target,
        card=name or card,
        devices=count,
        processor=here["processor"],
        machine={"system": here["system"], "cores": str(here["cores"]), "load at the start": _load()},
        versions=known,
        findings=tuple(examine(host)),
        rows=(),
    )
    return job, found


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _commit() -> str | None:
    """The commit of the checkout that this code lies in, "-dirty" where files differ from it; None elsewhere."""
    here = Path(__file__).resolve()
    git = ["git", "-C", str(here.parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=True, timeout=30)
        words = [*git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _wanted(table: tuple[Check, ...], only: str | None) -> set[str]:
    """The rows to run: all, or those of --only with what they need."""
    names = {check.name: check for check in table}
    wanted = set(names) if only is None else set(only.split(","))
    if unknown := wanted - set(names):
        raise UsageError(expected=f"rows out of {', '.join(names)}", found=", ".join(sorted(unknown)), where="--only")
    for check in reversed(table):
        wanted |= set(check.after) if check.name in wanted else set()
    return wanted


def _open_row(check: Check, wanted: bool) -> Row:
    row = Row(check.name, check.title, check.demanded)
    return row if wanted else replace(row, found="not asked for by --only")


def keep(found: Acceptance, out: Path) -> None:
    """Write what was found until now as a file and a page."""
    found.write(out / FILE)
    write_page(out / PAGE, read_acceptance(out / FILE))


def accept(job: Job, found: Acceptance, todo: list[Check], out: Path, limit: float) -> Acceptance:
    """Run the checks of `todo` and put their rows into `found`, which is kept in `out` after each of them."""
    stop, before = threading.Event(), signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    try:
        keep(found, out)
        for row in _rows(job, todo, out / "logs", limit, stop):
            found = found.with_row(row)
            keep(found, out)
            print(f"{row.state:<8} {row.seconds:5.0f} s  {row.title}: {row.found}", flush=True)
    finally:
        stop.set()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    return found


def _rows(job: Job, todo: list[Check], logs: Path, limit: float, stop: threading.Event) -> Iterator[Row]:
    """The rows of the checks as they are done, those of the short form two at a time, whose times say nothing.

    On a card one alone: the first process may take all of its memory.
    """
    at_once = 2 if job.short and (job.device, job.target) == ("CPU", "cpu") else 1
    states: dict[str, str] = {}
    left, running = list(todo), dict[Future, Check]()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while left or running:
                for check in [one for one in left if all(name in states for name in one.after)]:
                    if len(running) == at_once:
                        break
                    left.remove(check)
                    unmet = [name for name in check.after if states[name] != PASS]
                    running[pool.submit(_row, job, check, unmet, logs, limit, stop)] = check
                done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    row = future.result()
                    states[running.pop(future).name] = row.state
                    yield row
        finally:
            stop.set()


def _row(job: Job, check: Check, unmet: list[str], logs: Path, limit: float, stop: threading.Event) -> Row:
    row = Row(check.name, check.title, check.demanded)
    if check.lacks:
        return replace(row, found=check.lacks)
    if unmet:
        return replace(row, found=f"it needs the row {unmet[0]}, which did not pass")
    begun_at = time.monotonic()
    values = isolated.run(job.path, check.place, check.words, limit, logs / f"{check.name}.log", stop)
    return replace(row, **values, seconds=round(time.monotonic() - begun_at, 1))
