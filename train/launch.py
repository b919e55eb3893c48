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

from glorext.runtime.cli import parser as make_parser
from glorext.runtime.cli import run
from glorext.runtime.errors import GlorextError, UsageError

from . import command, evaluate
from .rank_table import address_of, card_numbers, cards_of_host

# Seconds: for a stop before processes are killed, for all processes to meet, until a silent one counts as dead.
GRACE, CLUSTER_TIMEOUT, NODE_TIMEOUT = 60, 600, 15
HCCL_TIMEOUTS = 120, 7200  # seconds: what Ascend's communication library takes
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
    cluster_timeout: int = CLUSTER_TIMEOUT,
) -> int:
    """Run `python WORKER_ARGS` once per device and wait; 0, or 128 + the signal that stopped it.

    Args:
        worker_args: what follows `python`, the same for every process.
        devices: how many devices of this host, or the numbers of the cards. The lowest has the lowest rank: Ascend's
            driver takes a list of cards in rising order only.
        log_dir: folder for msrun's logs, worker_R.log and scheduler.log.
        master, port: where the scheduler listens; on one host by default at a free port.
        hosts, host: number of hosts with as many devices each, and which one this is.
        cluster_timeout: seconds in which all processes of all hosts must have joined.

    Raises:
        LaunchError: a process died or failed; all others are killed, and the message holds the first error of the logs.
    """
    count = devices if isinstance(devices, int) else len(devices)
    log_dir = Path(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    for old in (*log_dir.glob("worker_*.log"), log_dir / "scheduler.log"):
        old.unlink(missing_ok=True)
    msrun = {
        "worker_num": count * hosts,
        "local_worker_num": count,
        "master_addr": master,
        "master_port": port or (_free_port() if hosts == 1 else PORT),
        "node_rank": host,
        "join": True,
        "cluster_time_out": cluster_timeout,
        "log_dir": log_dir,
    }
    words = ["msrun", *(f"--{flag}={value}" for flag, value in msrun.items()), "python", *worker_args]
    environment = _environment(None if isinstance(devices, int) else sorted(devices), cluster_timeout)
    status, stops = _run(words, environment, log_dir / f"worker_{count * host}.log", alone=hosts == 1)
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


def _environment(cards: list[int] | None, cluster_timeout: int) -> dict[str, str]:
    """The environment of msrun and its processes, with a mark of its own; `cards` in rising order."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        MARK: uuid.uuid4().hex,
    }
    # A dead process is noticed after this many seconds instead of 30; a busy host may send its heartbeat late.
    environment.setdefault("MS_NODE_TIMEOUT", str(NODE_TIMEOUT))
    # Ascend's cards meet after the processes have; where one is given long, so is the other.
    shortest, longest = HCCL_TIMEOUTS
    environment.setdefault("HCCL_CONNECT_TIMEOUT", str(max(shortest, min(longest, cluster_timeout))))
    # At its default level MindSpore fills a page of every log with its connections.
    environment.setdefault("GLOG_v", "3")
    # Older scripts export it; MindSpore would then take the cards from it and from msrun.
    environment.pop("RANK_TABLE_FILE", None)
    return environment | (dict.fromkeys(VISIBLE, ",".join(map(str, cards))) if cards else {})


def _run(msrun: list[str], environment: dict, log: Path, alone: bool) -> tuple[int | None, list[int]]:
    """Run msrun with all that it starts, showing rank 0's `log`; leave none of it behind.

    Args:
        alone: whether this is the only host.

    Returns:
        msrun's status, None if it had to be killed after a stop; and the signals that asked for a stop.
    """
    mark = environment[MARK]
    stops: list[int] = []
    handlers = {s: signal.signal(s, lambda number, _: stops.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    process = None
    try:
        process = subprocess.Popen(
            msrun, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return _watch(process, mark, log, stops, alone), stops
    finally:
        end_marked(mark)
        if process:
            process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _watch(process, mark: str, log: Path, stops: list[int], alone: bool) -> int | None:
    """Copy rank 0's log to stdout until msrun ends, and pass a stop on to the workers, once.

    Returns:
        msrun's status; None if it has not ended in time after a stop.
    """
    stop = threading.Event()
    follower = threading.Thread(target=_copy_log, args=(log, stop), daemon=True)
    follower.start()
    deadline, status, alive = None, None, time.monotonic()
    while (status := process.poll()) is None:
        if stops and deadline is None:
            deadline = time.monotonic() + GRACE
            for member in _members(mark):
                _signal(member, signal.SIGTERM, workers_only=True)
        if deadline and time.monotonic() > deadline:
            break
        # Where one fails before all have joined, msrun kills the others, and then waits as long as they had to join.
        if not alone or _has_workers(process):
            alive = time.monotonic()
        elif time.monotonic() > alive + NODE_TIMEOUT:
            status = 1
            break
        time.sleep(0.2)
    stop.set()
    follower.join()
    return status


def _has_workers(process) -> bool:
    """Whether a worker of msrun's lives, or msrun has just begun and started none yet."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children()
        return not children or any(_environment_of(child).get("MS_ROLE") == "MS_WORKER" for child in children)
    return True


def _members(mark: str, variable: str = MARK) -> list:
    """Every living process of a launch, whichever session it is in and whether or not msrun still runs."""
    return [process for process in psutil.process_iter() if _environment_of(process).get(variable) == mark]


def end_marked(mark: str, variable: str = MARK) -> None:
    """Kill every process in whose environment `variable` is `mark`, and wait for their end."""
    deadline = time.monotonic() + GRACE
    while (members := _members(mark, variable)) and time.monotonic() < deadline:
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
    """`glorext launch --devices 8 train FLAGS OF glorext train`; eval likewise."""
    parser = make_parser(
        "launch",
        "Train or evaluate on several devices through MindSpore's msrun, a process for each.",
        "glorext launch --devices 8 train --data imagenet/train --device Ascend\n"
        "  glorext launch --device_ids 0,2 eval RUN --data imagenet/val --device GPU",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--devices", type=int, default=8, help="how many devices of this host (8)")
    which.add_argument("--device_ids", help="which cards of this host: 0-7 or 0,2; the lowest has the lowest rank")
    which.add_argument("--rank_table", help="file that names the Ascend cards, see `glorext rank-table`")
    parser.add_argument("--log_dir", default="logs", help="folder for every process's log")
    parser.add_argument("--master", help="address of host 0; by default the one in the rank table, or this host")
    parser.add_argument("--port", type=int, help=f"free port of host 0; with several hosts {PORT} by default")
    parser.add_argument("--hosts", type=int, default=1, help="number of hosts, each with as many devices")
    parser.add_argument("--host", type=int, default=0, help="which host this is; a rank table says how many there are")
    parser.add_argument(
        "--cluster_timeout",
        type=int,
        default=CLUSTER_TIMEOUT,
        help=f"seconds in which the processes of all hosts must have joined ({CLUSTER_TIMEOUT})",
    )
    parser.add_argument("command", choices=COMMANDS, help="what to start")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="flags of glorext train or glorext eval")
    arguments = parser.parse_args(argv)
    devices, hosts, master = arguments.devices, arguments.hosts, arguments.master
    if arguments.device_ids:
        devices = card_numbers(arguments.device_ids, "--device_ids")
    if arguments.rank_table:
        servers, devices = cards_of_host(arguments.rank_table, arguments.host)
        hosts, master = len(servers), master or address_of(servers[0])
    if arguments.devices < 1 or arguments.cluster_timeout < 1 or not 0 <= arguments.host < hosts:
        raise UsageError(
            expected="at least one device, host and second, and --host below --hosts", found=" ".join(argv)
        )
    if hosts > 1 and not master:
        raise UsageError(expected="the address of host 0", found="none", where="--master")
    module, parse = COMMANDS[arguments.command]
    parsed = parse(arguments.flags)  # wrong flags are reported here, not in eight logs
    if arguments.command == "train":
        command.require_devices(parsed, hosts * (devices if isinstance(devices, int) else len(devices)))
    return launch(
        ["-m", module, *arguments.flags],
        devices,
        log_dir=arguments.log_dir,
        master=master or "127.0.0.1",
        port=arguments.port,
        hosts=hosts,
        host=arguments.host,
        cluster_timeout=arguments.cluster_timeout,
    )


if __name__ == "__main__":
    sys.exit(run("glorext launch", lambda: main(sys.argv[1:])))
