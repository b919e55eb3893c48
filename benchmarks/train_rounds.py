"""The loop that both frameworks run: a line on standard input starts a round of steps, a line of JSON answers it."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ANSWER = "ROUND "


def serve(folder: Path, per_round: int, cores: list[int], convert, step) -> None:
    """Answer each line with [[loss, seconds], ...] of `per_round` steps on the next batches of `folder`.

    Args:
        convert: a picture batch (N, 3, H, W) float32 and its targets (N,) int32, made the framework's own; not timed.
        step: does one training step on them and returns the loss as a number.
    """
    os.sched_setaffinity(0, cores)
    images, targets = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "targets"))
    for start, _ in zip(range(0, len(images), per_round), sys.stdin):
        found = []
        for i in range(start, start + per_round):
            batch = convert(np.array(images[i]), np.array(targets[i]))
            began = time.perf_counter()
            loss = step(*batch)
            found.append((loss, time.perf_counter() - began))
        print(ANSWER + json.dumps(found), flush=True)
