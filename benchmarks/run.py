"""Run the benchmarks, keep what they measured, and write the readmes' table: what `make bench` does.

    python benchmarks/run.py [--only load,index] [--data PICTURES] [--archive CIFAR10] [--no_peers] [--smoke]

What glorext is compared with is installed into build/peers, once for each state of requirements.txt. Each benchmark
runs in a process of its own; what it measured is in benchmarks/results/<date>-<machine>.json as soon as it is done, so
that one that fails or is stopped takes nothing with it. PICTURES/<class>/<file> are photographs; without them, they are
made. CIFAR10 is a tar with train/<class>/<file> and val/, without which `finetune` is skipped. With --smoke everything
is as small as it can be, without peers, and nothing is kept.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from results import RESULTS, SHOWN, Results, this_machine, write_readmes

from glorext.runtime import SetupError, UsageError, sha256_file
from glorext.runtime.cli import run
from glorext.runtime.files import file_lock

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
PEERS = HERE.parent / "build" / "peers"
IMPORTED = ("torch", "torchvision", "timm", "huggingface_hub", "safetensors.torch")
BUSY = 0.3  # of a core: more than an idle machine shows


def names() -> list[str]:
    """The benchmarks: bench_NAME.py."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def takes(name: str, flag: str) -> bool:
    """Whether a benchmark has a flag, by its help."""
    words = [sys.executable, str(HERE / f"bench_{name}.py"), "--help"]
    return flag in subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.replace(",", " ").split()


def peers(folder: Path = PEERS, requirements: Path = REQUIREMENTS) -> str:
    """The Python of an environment with what is compared with; it is made where it is missing or has other versions.

    Raises:
        SetupError: the packages could not be installed.
    """
    python, stamp = folder / "bin" / "python", folder / "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_suffix(".lock"), "to install the peers"):
        if stamp.is_file() and stamp.read_text() == sha256_file(requirements):
            return str(python)
        print(f"installing what is compared with into {folder} (some minutes, 1 to 5 GB)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        words = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
        for each in (words, [str(python), "-c", f"import {', '.join(IMPORTED)}"]):
            done = subprocess.run(each, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise SetupError(
                    f"the peers could not be installed: {(done.stdout.strip().splitlines() or ['no word'])[-1]}",
                    where=requirements,
                    do="Check the network and the package index, or measure glorext alone: --no_peers",
                )
        stamp.write_text(sha256_file(requirements))
    return str(python)


def measured(name: str, words: list[str]) -> dict | None:
    """Run a benchmark and give what it handed over; None where it failed, which its own output explains."""
    print(f"\n== {name}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "results.json"
        command = [sys.executable, str(HERE / f"bench_{name}.py"), "--json", str(out), *words]
        done = subprocess.run(command)
        return json.loads(out.read_text()) if done.returncode == 0 else None


def wanted(only: str | None) -> list[str]:
    """The benchmarks of `--only`, in its order, or all.

    Raises:
        UsageError: there is no such benchmark.
    """
    chosen = [name.strip() for name in only.split(",") if name.strip()] if only else names()
    unknown = [name for name in chosen if name not in names()]
    if unknown or not chosen:
        found = ", ".join(unknown) or "none"
        raise UsageError(expected=f"names out of {', '.join(names())}", found=found, where="--only")
    return chosen


def main() -> int:
    """Run them; status 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"some of {', '.join(names())}, with commas between")
    parser.add_argument("--data", type=Path, help="photographs, FOLDER/<class>/<file>; by default made ones")
    parser.add_argument("--archive", type=Path, help="the CIFAR-10 subset of bench_finetune.py")
    parser.add_argument("--no_peers", action="store_true", help="measure glorext alone; nothing is installed")
    parser.add_argument("--smoke", action="store_true", help="whether they run: smallest sizes, nothing is kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the file of results goes")
    arguments = parser.parse_args()
    chosen = wanted(arguments.only)
    if arguments.data and not arguments.data.is_dir():
        raise UsageError(expected="a folder of pictures", found="none", where=arguments.data)
    if arguments.smoke:
        failed = [name for name in chosen if measured(name, ["--smoke"]) is None]
    else:
        PEERS.parent.mkdir(exist_ok=True)
        with file_lock(PEERS.parent / "bench.lock", "to end its benchmarks"):  # two at once would measure each other
            failed = keep_all(chosen, arguments)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def keep_all(chosen: list[str], arguments) -> list[str]:
    """Run benchmarks, keep what each measured as soon as it has, and write the readmes; which failed."""
    python = None if arguments.no_peers else peers()
    date, machine = datetime.datetime.now(datetime.timezone.utc).date().isoformat(), this_machine()
    if machine["load"] > BUSY:
        print(f"warning: a load of {machine['load']}: something else runs here, so the numbers mean little", flush=True)
    failed = []
    for name in chosen:
        words = []
        given = {"--peer_python": python, "--data": arguments.data, "--archive": arguments.archive}
        for flag, value in given.items():
            if value and takes(name, flag):
                words += [flag, str(value)]
        found = measured(name, words)
        if found is None:
            failed.append(name)
        else:
            path = Results(date, machine, {name: found}).write(arguments.results)
            print(f"kept in {os.path.relpath(path)}", flush=True)
    if arguments.results == RESULTS and len(failed) < len(chosen):
        show_missing(write_readmes())
    return failed


def show_missing(missing: list[tuple[str, str]]) -> None:
    """Say whether the readmes were written."""
    lacking = ", ".join(sorted({name for name, _ in missing}, key=[name for name, _ in SHOWN].index))
    kept = f"the readmes keep their table until these are measured against a peer too: {lacking}"
    print(kept if missing else "the readmes are written")


if __name__ == "__main__":
    sys.exit(run("python benchmarks/run.py", main))
