"""Claim: equal epochs give the accuracy that torchvision's and timm's ways of training give, from nothing.

    python benchmarks/bench_accuracy.py --peer_python PYTHON [--seeds 1 2 3] [--peers torchvision timm] [--epochs N]

resnext50 on scikit-learn's 1,797 digits at 32x32 by the recipe `digits`: the same pictures, batch, learning rate of
every step, momentum, weight decay of weights alone, label smoothing, and last norms of blocks that start at zero. Each
initializes by its own rules and draws its own order. Runs take turns, so that a slow hour is slow for all; seconds are
those of an epoch with its evaluation, the median of a run's. PYTHON has torch, torchvision and timm.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import Row, hand_over, made_pictures, network_args, options, versions_of

PEER = Path(__file__).parent / "accuracy_peers.py"


def by_glorext(data: Path, seed: int, out: Path, epochs: int, network_args: dict) -> dict:
    """One run of `glorext train`: top-1 after the last epoch, and seconds of an epoch."""
    import glorext
    from glorext.train import Callback

    ends, top1 = [time.perf_counter()], [0.0]

    class Watch(Callback):
        def on_epoch(self, event):
            ends.append(time.perf_counter())
            top1.append(event["top1"])

    callbacks = [Watch()]
    small: dict[str, Any] = {"network_args": network_args, "warmup_epochs": 0} if network_args else {}
    glorext.train(
        "digits", data, seed=seed, epochs=epochs, device="CPU", out=out, quiet=True, callbacks=callbacks, **small
    )
    return {"top1": top1[-1], "seconds": statistics.median(b - a for a, b in itertools.pairwise(ends))}


def by_peer(python: str, peer: str, data: Path, seed: int, settings: dict) -> dict:
    """The same by torchvision's or timm's means."""
    done = subprocess.run(
        [python, str(PEER), peer, str(data), str(seed), json.dumps(settings)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def settings_of(epochs: int, pictures: int) -> dict:
    """What the recipe says, for the peers."""
    from glorext.train import load_recipe
    from glorext.train.schedules import learning_rates

    recipe = load_recipe("digits", epochs=epochs)
    return {
        "batch": recipe.batch_size,
        "size": recipe.input_spec().size,
        "epochs": epochs,
        "rates": [float(rate) for rate in learning_rates(recipe, pictures // recipe.batch_size)],
        "momentum": recipe.momentum,
        "weight_decay": recipe.weight_decay,
        "smoothing": recipe.smoothing,
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    """Train in turns and print one table."""
    parser = options(__doc__, peer=True)
    parser.add_argument("--peers", nargs="+", choices=["torchvision", "timm"], default=["torchvision", "timm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    have = versions_of(arguments.peer_python, arguments.peers)
    arguments.peers = [peer for peer in arguments.peers if peer in have]
    if arguments.smoke:
        arguments.seeds, arguments.epochs = [1], 1
    found: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits"
        if arguments.smoke:
            for part in ("train", "val"):
                made_pictures(data / part, 32, (32, 32), ".png")
        else:
            words = [sys.executable, "-m", "glorext", "digits", str(data)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        settings = settings_of(arguments.epochs, len(list((data / "train").glob("*/*.png"))))
        for seed in arguments.seeds:
            mine = by_glorext(data, seed, Path(folder) / f"run{seed}", arguments.epochs, network_args(arguments))
            found.setdefault("glorext train", []).append(mine)
            for peer in arguments.peers:
                theirs = by_peer(arguments.peer_python, peer, data, seed, settings)
                found.setdefault(f"{peer} {have[peer]}", []).append(theirs)
            print(f"seed {seed}:", {name: runs[-1] for name, runs in found.items()}, flush=True)
    show(found, arguments)
    hand_over(arguments, __doc__, rows_of(found))


def rows_of(found: dict[str, list[dict]]) -> list[Row]:
    """What is handed over: mean accuracies and median times."""
    means = {name: 100 * statistics.mean(run["top1"] for run in runs) for name, runs in found.items()}
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    ours, *others = found
    if not others:
        return [Row("top-1", "%", means[ours]), Row("an epoch", "s", seconds[ours])]
    rows = []
    for peer in others:
        named = peer.split()[0]
        rows.append(Row(f"top-1, {named}", "%", means[ours], peer, means[peer], "more"))
        rows.append(Row(f"an epoch, {named}", "s", seconds[ours], peer, seconds[peer]))
    return rows


def show(found: dict[str, list[dict]], arguments) -> None:
    """Print the table."""
    ours = statistics.median(run["seconds"] for run in found["glorext train"])
    print(f"\nafter {arguments.epochs} epochs\n")
    print("| by | top-1 of each seed | mean | s an epoch | time, glorext/this |\n|---|---|---|---|---|")
    for name, runs in found.items():
        each = [100 * run["top1"] for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        shown = ", ".join(f"{top1:.1f}" for top1 in each)
        print(f"| {name} | {shown} % | {statistics.mean(each):.1f} % | {seconds:.1f} | {ours / seconds:.2f} |")


if __name__ == "__main__":
    main()
