"""Memory and time of start of glorext_infer with 1, 2, 4 and 8 workers, each beside one worker in the same sitting.

Usage: python benchmarks/bench_workers.py [--network resnext50] [--pictures 32]

Claims: a worker more costs its packed weights and its activations, not another model, and the start stays below twice
that of one worker. The pictures are noise, so that no data is needed.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

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


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--network", default="resnext50")
    arguments.add_argument("--pictures", type=int, default=32)
    options = arguments.parse_args()
    from PIL import Image

    from glorext.deploy.convert.converter import convert
    from glorext.deploy.export.exporter import export
    from glorext.deploy.runners.programs import build
    from glorext.hub import open_model
    from glorext.models import create, save_checkpoint
    from glorext.runtime import set_device

    set_device("CPU")
    (name,) = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[:1]
    print(f"{name}, {os.cpu_count()} cores; {options.network}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "pictures").mkdir()
        generator = np.random.default_rng(0)
        for number in range(options.pictures):
            pixels = generator.integers(0, 256, (240, 320, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{number:03d}.jpg")
        save_checkpoint(create(options.network), folder / "random.ckpt")
        (exported,) = export(open_model(folder / "random.ckpt", network=options.network), folder, ["mindir"])
        models = convert(folder / exported.file, folder, ["mindir", "ms"], programs=build())
        for model in models:
            one_memory = one_start = 0.0
            for workers in WORKERS:
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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
