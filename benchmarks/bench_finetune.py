"""Claim: `finetune_strong` beats `finetune` on both small sets at hand, at equal epochs, whatever the seed.

    python benchmarks/bench_finetune.py --archive cifar10_subset.tar.xz [--out FOLDER] [--seeds 1 2 3]

Sets: scikit-learn's 1,797 digits, and a CIFAR-10 subset of 4,000 + 1,000 pictures, a tar with train/<class>/<file> and
val/, both at 32x32; without the tar it is skipped. No published weights for such pictures are at hand, so each set
starts from resnext50 trained on the other one, which is a poor start and the same for both recipes. Accuracy is top-1
on the validation pictures, the best epoch's, as training keeps it. Runs lie in FOLDER; what was measured there is not
measured again, what was stopped goes on.
"""

import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from measured import SMALL, Row, hand_over, made_pictures, options

RECIPES = ("finetune", "finetune_strong")
SOURCE = {  # how the network is trained that a set's runs start from: the set and the recipe
    "digits": (
        "cifar10",
        ["--recipe", "digits", "--augmentation", "crop_flip", "--epochs", "12", "--batch_size", "32", "--lr", "0.05"],
    ),
    "cifar10": ("digits", ["--recipe", "digits"]),
}


def glorext(*words) -> None:
    """Run a command of glorext."""
    subprocess.run([sys.executable, "-m", "glorext", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def made_sets(out: Path, archive: Path) -> None:
    """The pictures of both sets, as FOLDER/<set>/train and val."""
    if not (out / "digits").is_dir():
        glorext("digits", out / "digits")
    if not (out / "cifar10").is_dir():
        with tarfile.open(archive) as content:
            content.extractall(out / "cifar10.part", filter="data")
        (out / "cifar10.part").rename(out / "cifar10")


def trained(out: Path, data: Path, words) -> dict:
    """The accuracy and minutes of a run, which is done if it was not yet."""
    done = out / "bench.json"
    if not done.is_file():
        begun = time.monotonic()
        glorext("train", "--resume", "auto", "--data", data, "--device", "CPU", "--out", out, *words)
        top1 = json.loads((out / "eval.json").read_text())["top1"]
        done.write_text(json.dumps({"top1": top1, "minutes": (time.monotonic() - begun) / 60}))
    return json.loads(done.read_text())


def main() -> None:
    """Train what was not trained yet, and print the table."""
    parser = options(__doc__)
    parser.add_argument("--archive", type=Path, help="the CIFAR-10 subset")
    parser.add_argument("--out", type=Path, default=Path("bench_finetune_out"))
    parser.add_argument("--sets", nargs="+", choices=list(SOURCE), default=list(SOURCE))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--epochs", type=int, help="of the runs that are compared; by default as the recipes say")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as scratch:
            hand_over(arguments, __doc__, measured(smallest(arguments, Path(scratch)), Path(scratch)))
        return
    if not (arguments.archive and arguments.archive.is_file()):
        hand_over(arguments, __doc__, skipped="the CIFAR-10 subset is not named with --archive")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    made_sets(arguments.out, arguments.archive)
    hand_over(arguments, __doc__, measured(arguments, arguments.out))


def smallest(arguments, out: Path):
    """What --smoke runs: made pictures in place of both sets, a small network, an epoch of each recipe."""
    for name in SOURCE:
        for part in ("train", "val"):
            made_pictures(out / name / part, 32, (32, 32), ".png")
    arguments.sets, arguments.seeds, arguments.recipes, arguments.epochs = ["digits"], [1], ["finetune_strong"], 1
    words = ["--recipe", "digits", "--epochs", "1", "--warmup_epochs", "0", "--network_args", json.dumps(SMALL)]
    SOURCE["digits"] = ("cifar10", words)
    return arguments


def measured(arguments, out: Path) -> list[Row]:
    """Train what was not trained yet, print the table, and give its rows."""
    rows, means = [], {}
    length = ["--epochs", arguments.epochs] if arguments.epochs else []
    print("| set | recipe | top-1 of each seed | mean | minutes a run |\n|---|---|---|---|---|")
    for name in arguments.sets:
        other, words = SOURCE[name]
        source = out / f"trained_on_{other}"
        trained(source, out / other, words)
        for recipe in arguments.recipes:
            runs = []
            for seed in arguments.seeds:
                flags = ["--recipe", recipe, "--from", source, "--image_size", 32, "--seed", seed, *length]
                runs.append(trained(out / f"{name}_{recipe}_{seed}", out / name, flags))
            each = [100 * run["top1"] for run in runs]
            minutes = statistics.mean(run["minutes"] for run in runs)
            shown = ", ".join(f"{top1:.1f}" for top1 in each)
            print(f"| {name} | {recipe} | {shown} % | {statistics.mean(each):.1f} % | {minutes:.1f} |", flush=True)
            means[recipe] = statistics.mean(each)
        first, last = arguments.recipes[0], arguments.recipes[-1]
        peer, value = (first, means[first]) if first != last else (None, None)
        rows.append(Row(f"top-1 of {last} on {name}", "%", means[last], peer, value, "more"))
    return rows


if __name__ == "__main__":
    main()
