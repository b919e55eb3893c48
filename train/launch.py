"""Starts training or evaluation once per device through MindSpore's msrun, and leaves no process behind."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil

from glorext.runtime.cli import run
from glorext.runtime.errors import GlorextError, UsageError

from . import command, evaluate
from .rank_table import card_numbers, cards_of_host

PROGRAM = "python -m glorext.train.launch"
# Seconds: for a stop before processes are killed, for all processes to meet, until a silent one counts as dead.
GRACE, CLUSTER_TIMEOUT, NODE_TIMEOUT = 60, 60, 15
PORT = 8118
# What can be started: the module to run, and what reads its flags.
COMMANDS = {"train": ("glorext.train", command.parse), "eval": ("glorext.train.evaluate", evaluate.parse)}
MARK = "GLOREXT_LAUNCH"  # in the environment of every process that one launch started
# Where Ascend and NVIDIA's drivers look for the cards of a process.
VISIBLE = ("ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


class LaunchError(GlorextError):
    """A process of a distributed run failed."""


def launch(
    worker_args: list[str],
    devices: int | list[int],
    *,
    log_dir,
    master: str = "127.0.0.1",
    port: int | None = None,
    hosts: int = 1,
    host: int = 0,
) -> int:
    """Run `python WORKER_ARGS` once per device and wait; 0, or 128 + the signal that stopped it.

    Args:
        worker_args: what follows `python`, the same for every process.
        devices: how many devices of this host, or the numbers of the cards in the order of their ranks.
        log_dir: folder for msrun's logs, worker_R.log and scheduler.log.
        master, port: where the scheduler listens; on one host by default at a free port.
        hosts, host: number of hosts with as many devices each, and which one this is.

    Raises:
        LaunchError: a process died or failed; all others are killed, and the message holds the first error of the logs.
    """
    count = devices if isinstance(devices, int) else len(devices)
    log_dir = Path(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    for old in (*log_dir.glob("worker_*.log"), log_dir / "scheduler.log"):
        old.unlink(missing_ok=True)
    msrun = [
        "msrun",
        f"--worker_num={count * hosts}",
        f"--local_worker_num={count}",
        f"--master_addr={master}",
        f"--master_port={port or (_free_port() if hosts == 1 else PORT)}",
        f"--node_rank={host}",
        "--join=True",
        f"--cluster_time_out={CLUSTER_TIMEOUT}",
        f"--log_dir={log_dir}",
        "python",
        *worker_args,
    ]
    status, stops = _run(msrun, None if isinstance(devices, int) else devices, log_dir / f"worker_{count * host}.log")
    if status is None:
        raise LaunchError(
            expected=f"a stop within {GRACE} s of the signal",
            found="none, all processes were killed",
            where=log_dir,
            do="Go on with --resume auto from the last checkpoint.",
        )
    if stops:
        return 128 + stops[0]
    if status:
        raise LaunchError(
            expected=f"all {count} processes to succeed",
            found=_first_error(log_dir),
            where=log_dir,
            do="Read the logs there; after a repair, go on with --resume auto.",
        )
    return 0


def _run(msrun: list[str], cards: list[int] | None, log: Path) -> tuple[int | None, list[int]]:
    """Run msrun with all that it starts, showing rank 0's `log`; leave none of it behind.

    Returns:
        msrun's status, None if it had to be killed after a stop; and the signals that asked for a stop.
    """
    mark = uuid.uuid4().hex
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}", MARK: mark}
    # A dead process is noticed after this many seconds instead of 30; a busy host may send its heartbeat late.
    environment.setdefault("MS_NODE_TIMEOUT", str(NODE_TIMEOUT))
    # At its default level MindSpore fills a page of every log with its connections.
    environment.setdefault("GLOG_v", "3")
    # Older scripts export it; MindSpore would then take the cards from it and from msrun.
    environment.pop("RANK_TABLE_FILE", None)
    if cards:
        environment |= dict.fromkeys(VISIBLE, ",".join(map(str, cards)))
    stops: list[int] = []
    handlers = {s: signal.signal(s, lambda number, _: stops.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    process = None
    try:
        process = subprocess.Popen(
            msrun, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return _watch(process, mark, log, stops), stops
    finally:
        _kill(mark)
        if process:
            process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _watch(process, mark: str, log: Path, stops: list[int]) -> int | None:
    """Copy rank 0's log to stdout until msrun ends, and pass a stop on to the workers, once.

    Returns:
        msrun's status; None if it has not ended in time after a stop.
    """
    stop = threading.Event()
    follower = threading.Thread(target=_copy_log, args=(log, stop), daemon=True)
    follower.start()
    deadline = None
    while process.poll() is None:
        if stops and deadline is None:
            deadline = time.monotonic() + GRACE
            for member in _members(mark):
                _signal(member, signal.SIGTERM, workers_only=True)
        if deadline and time.monotonic() > deadline:
            break
        time.sleep(0.2)
    stop.set()
    follower.join()
    return process.poll()


def _members(mark: str) -> list:
    """Every living process of a launch, whichever session it is in and whether or not msrun still runs."""
    return [process for process in psutil.process_iter() if _environment_of(process).get(MARK) == mark]


def _kill(mark: str) -> None:
    deadline = time.monotonic() + GRACE
    while (members := _members(mark)) and time.monotonic() < deadline:
        for member in members:
            _signal(member, signal.SIGKILL)
        psutil.wait_procs(members, timeout=1)


def _environment_of(process) -> dict:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _signal(member, number, workers_only: bool = False) -> None:
    if workers_only and _environment_of(member).get("MS_ROLE") != "MS_WORKER":
        return
    with contextlib.suppress(psutil.Error):
        member.send_signal(number)


def _copy_log(log: Path, stop: threading.Event) -> None:
    while not log.exists() and not stop.wait(0.2):
        pass
    if not log.exists():
        return
    with open(log, "rb") as file:
        ended = False
        while not ended:
            ended = stop.wait(0.2)
            while piece := file.read(1 << 16):
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()


def _first_error(log_dir: Path) -> str:
    """The last line about an error from the worker whose log ended first."""
    logs = sorted(log_dir.glob("worker_*.log"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for log in logs:
        for line in reversed(log.read_text(errors="replace").replace("\r", "\n").splitlines()):
            if "Error" in line and "Traceback" not in line:
                return f"{log.name}: {line.strip()[:300]}"
    return "a process that ended without an error message (killed?)"


def main(argv: list[str]) -> int:
    """`python -m glorext.train.launch --devices 8 train FLAGS OF glorext train`; eval likewise."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=f"examples:\n  {PROGRAM} --devices 8 train --data_dir imagenet/train --platform Ascend\n"
        f"  {PROGRAM} --device_ids 0,2 eval RUN --data_dir imagenet/val --platform GPU",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--devices", type=int, default=8, help="how many devices of this host (8)")
    which.add_argument("--device_ids", help="which cards of this host: 0-7 or 0,2; their order gives the ranks")
    which.add_argument("--rank_table", help="file that names the Ascend cards, see `glorext rank-table`")
    parser.add_argument("--log_dir", default="logs", help="folder for every process's log")
    parser.add_argument("--master", default="127.0.0.1", help="address of host 0")
    parser.add_argument("--port", type=int, help=f"free port of host 0; with several hosts {PORT} by default")
    parser.add_argument("--hosts", type=int, default=1, help="number of hosts, each with as many devices")
    parser.add_argument("--host", type=int, default=0, help="which host this is; a rank table says how many there are")
    parser.add_argument("command", choices=COMMANDS, help="what to start")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="flags of glorext train or glorext eval")
    arguments = parser.parse_args(argv)
    devices, hosts = arguments.devices, arguments.hosts
    if arguments.device_ids:
        devices = card_numbers(arguments.device_ids, "--device_ids")
    if arguments.rank_table:
        hosts, devices = cards_of_host(arguments.rank_table, arguments.host)
    if arguments.devices < 1 or not 0 <= arguments.host < hosts:
        raise UsageError(expected="at least one device and host, and --host below --hosts", found=" ".join(argv))
    module, parse = COMMANDS[arguments.command]
    parsed = parse(arguments.flags)  # wrong flags are reported here, not in eight logs
    if arguments.command == "train":
        command.require_devices(parsed, hosts * (devices if isinstance(devices, int) else len(devices)))
    return launch(
        ["-m", module, *arguments.flags],
        devices,
        log_dir=arguments.log_dir,
        master=arguments.master,
        port=arguments.port,
        hosts=hosts,
        host=arguments.host,
    )


if __name__ == "__main__":
    sys.exit(run(PROGRAM, lambda: main(sys.argv[1:])))
