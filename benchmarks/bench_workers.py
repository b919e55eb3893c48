"""Memory and time of start of glorext_infer with 1, 2, 4 and 8 workers, each beside one worker in the same sitting.

    python benchmarks/bench_workers.py [--network resnext50] [--pictures 32]

Claims: a worker more costs its packed weights and its activations, not another model, and the start stays below twice
that of one worker. The pictures are made, so that no data is needed.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from measured import Row, hand_over, made_pictures, network_args, options
from results import this_machine

WORKERS = (1, 2, 4, 8)


def measured(command: list[str]) -> tuple[float, float]:
    """Largest resident memory in MB and seconds of a process."""
    started, largest = time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            # what wait4 says of a child holds the memory of the Python process that it was forked from
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        largest = max(largest, int(line.split()[1]) / 1024)
            time.sleep(0.01)
    assert process.returncode == 0, " ".join(command)
    return largest, time.monotonic() - started


def main() -> None:
    """Measure and print a line for each number of workers."""
    parser = options(__doc__)
    parser.add_argument("--network", default="resnext50")
    parser.add_argument("--pictures", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.pictures = 2
    rows = []
    from glorext.deploy.convert.converter import convert
    from glorext.deploy.export.exporter import export
    from glorext.deploy.runners.programs import build
    from glorext.hub import open_model
    from glorext.models import create, save_checkpoint
    from glorext.runtime import set_device

    set_device("CPU")
    print(f"{this_machine()['processor']}, {os.cpu_count()} cores; {arguments.network}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made_pictures(folder / "pictures", arguments.pictures, (320, 240))
        save_checkpoint(create(arguments.network, **network_args(arguments)), folder / "random.ckpt")
        (exported,) = export(open_model(folder / "random.ckpt", network=arguments.network), folder, ["mindir"])
        models = convert(folder / exported.file, folder, ["mindir", "ms"], programs=build())
        for model in models:
            one_memory = one_start = 0.0
            for workers in WORKERS[:2] if arguments.smoke else WORKERS:
                command = [
                    str(build().infer),
                    "--model",
                    str(folder / model.file),
                    "--images",
                    str(folder / "pictures"),
                ]
                command += ["--out", str(folder / "out"), "--workers", str(workers)]
                memory, seconds = measured(command)
                start = seconds - json.loads((folder / "out" / "results.json").read_text())["seconds"]
                one_memory, one_start = one_memory or memory, one_start or start
                print(
                    f"{model.file}: {workers} workers, {memory:.0f} MB ({memory / one_memory:.2f} of one worker), "
                    f"start {start:.1f} s ({start / one_start:.2f})",
                    flush=True,
                )
                if workers > 1:
                    what = f"{model.format}, {workers} workers"
                    rows.append(Row(f"{what}, memory", "MB", memory, "one worker", one_memory))
                    rows.append(Row(f"{what}, start", "s", start, "one worker", one_start))
    hand_over(arguments, __doc__, rows, **{"mindspore lite": build().lite.version})


if __name__ == "__main__":
    main()
