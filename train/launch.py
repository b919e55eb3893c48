"""Many devices: starts `python -m glorext.train` through MindSpore's msrun, shows rank 0, leaves no process behind."""
from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from glorext.runtime.errors import GlorextError, UsageError

GRACE, CLUSTER_TIMEOUT, NODE_TIMEOUT = 60, 60, 5


class LaunchError(GlorextError):
    """A process of a distributed run failed."""


def launch(worker_args: list[str], devices: int, *, log_dir, rank_table=None, master: str = "127.0.0.1",
           port: int = 8118, hosts: int = 1, host: int = 0) -> int:
    """Run `python WORKER_ARGS` once per device and wait; 0, or the status of an asked-for stop.

    Args:
        worker_args: what follows `python`, the same for every process.
        devices: devices of this host; with a rank table its number of cards here.
        log_dir: folder for msrun's logs, worker_R.log and scheduler.log.
        rank_table: file that names Ascend cards; its device numbers are used, in the order of their ranks.
        master, port: where the scheduler listens.
        hosts, host: number of hosts with as many devices each, and which one this is.

    Raises:
        LaunchError: a process died or failed; all others are ended, and the end of the log is in the message.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    # A dead worker is noticed after this many seconds instead of 30.
    environment.setdefault("MS_NODE_TIMEOUT", str(NODE_TIMEOUT))
    if rank_table:
        from .rank_table import read_rank_table
        cards = read_rank_table(rank_table)
        servers = list(dict.fromkeys(card.server for card in cards))
        if host >= len(servers):
            raise UsageError(expected=f"a host out of {len(servers)}", found=host, where="--host")
        hosts, mine = len(servers), [card.device_id for card in cards if card.server == servers[host]]
        devices = len(mine)
        environment["ASCEND_RT_VISIBLE_DEVICES"] = ",".join(map(str, mine))
    log_dir = Path(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    for old in (*log_dir.glob("worker_*.log"), log_dir / "scheduler.log"):
        old.unlink(missing_ok=True)
    command = ["msrun", f"--worker_num={devices * hosts}", f"--local_worker_num={devices}", f"--master_addr={master}",
               f"--master_port={port}", f"--node_rank={host}", "--join=True", f"--cluster_time_out={CLUSTER_TIMEOUT}",
               f"--log_dir={log_dir}", "python", *worker_args]
    asked = []
    before = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    process = None
    try:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        status = _watch(process, log_dir / f"worker_{devices * host}.log", asked)
    finally:
        if process:
            _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        return 128 + asked[0]
    if status:
        raise LaunchError(expected=f"all {devices} processes to succeed", found=_blame(log_dir), where=log_dir,
                          do="Read the logs there; after a repair, go on with --resume auto.")
    return 0


def _descendants(pid: int) -> list:
    import psutil
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _watch(process, log: Path, asked: list) -> int:
    """Copy rank 0's log to stdout until msrun ends; pass a stop on to the workers, once."""
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(log, stop), daemon=True)
    follower.start()
    passed_on = None
    # msrun may be gone before its workers; they are remembered while it lives.
    while process.poll() is None:
        if asked and passed_on is None:
            passed_on = time.monotonic()
            for child in _descendants(process.pid):
                _signal(child, signal.SIGTERM, workers_only=True)
        if passed_on and time.monotonic() - passed_on > GRACE:
            break
        time.sleep(0.2)
    stop.set()
    follower.join()
    return process.poll()


def _signal(child, number, workers_only: bool = False) -> None:
    import psutil
    try:
        if not workers_only or child.environ().get("MS_ROLE") == "MS_WORKER":
            child.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass


def _end(process) -> None:
    """Nothing that was started stays: msrun puts its workers into sessions of their own, so each is ended by itself."""
    for child in _descendants(process.pid):
        _signal(child, signal.SIGKILL)
    process.kill()
    process.wait()


def _follow(log: Path, stop: threading.Event) -> None:
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


def _blame(log_dir: Path) -> str:
    """The last telling line of the worker that failed first."""
    logs = sorted(log_dir.glob("worker_*.log"), key=lambda path: path.stat().st_mtime)
    for log in logs:
        for line in reversed(log.read_text(errors="replace").replace("\r", "\n").splitlines()):
            if "Error" in line and "Traceback" not in line:
                return f"{log.name}: {line.strip()[:300]}"
    return "a process that ended without a word (killed?)"


def main(argv: list[str]) -> int:
    """`python -m glorext.train.launch --devices 8 -- FLAGS OF glorext train`."""
    parser = argparse.ArgumentParser(prog="python -m glorext.train.launch", description=__doc__,
                                     epilog="example: python -m glorext.train.launch --devices 8 -- --data_dir D")
    parser.add_argument("--devices", type=int, default=8, help="devices of this host")
    parser.add_argument("--rank_table", help="file that names the Ascend cards, see `glorext rank-table`")
    parser.add_argument("--log_dir", default="logs", help="folder for every process's log")
    parser.add_argument("--master", default="127.0.0.1", help="address of host 0")
    parser.add_argument("--port", type=int, default=8118, help="free port of host 0")
    parser.add_argument("--hosts", type=int, default=1, help="number of hosts, each with as many devices")
    parser.add_argument("--host", type=int, default=0, help="which host this is; a rank table says how many there are")
    parser.add_argument("train", nargs=argparse.REMAINDER, help="-- and the flags of glorext train")
    arguments = parser.parse_args(argv)
    hosts = max(arguments.hosts, arguments.host + 1) if arguments.rank_table else arguments.hosts
    if arguments.devices < 1 or not 0 <= arguments.host < hosts:
        raise UsageError(expected="at least one device and host, and --host below --hosts", found=argv)
    flags = arguments.train[1:] if arguments.train[:1] == ["--"] else arguments.train
    # Wrong flags are told here, not in eight logs.
    from .command import parse
    parse(flags)
    return launch(["-m", "glorext.train", *flags], arguments.devices, log_dir=arguments.log_dir,
                  rank_table=arguments.rank_table, master=arguments.master, port=arguments.port,
                  hosts=arguments.hosts, host=arguments.host)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GlorextError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
