"""Claim: `finetune_strong` beats `finetune` on both small sets at hand, at equal epochs, whatever the seed.

    python benchmarks/bench_finetune.py [--out FOLDER] [--sets digits cifar10] [--seeds 1 2 3] [--epochs N]

Sets: scikit-learn's 1,797 digits, and the CIFAR-10 subset of 4,000 + 1,000 pictures (cifar10_subset.tar.xz), both at
32x32. No published weights for such pictures are at hand, so each set starts from resnext50 trained on the other one,
which is a poor start and the same for both recipes. Accuracy is top-1 on the validation pictures, the best epoch's, as
training keeps it. Runs lie in FOLDER; what was measured there is not measured again, what was stopped goes on.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10_subset.tar.xz"
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


def made_sets(out: Path) -> None:
    """The pictures of both sets, as FOLDER/<set>/train and val."""
    if not (out / "digits").is_dir():
        glorext("digits", out / "digits")
    if not (out / "cifar10").is_dir():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(out / "cifar10.part", filter="data")
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench_finetune_out"))
    parser.add_argument("--sets", nargs="+", choices=list(SOURCE), default=list(SOURCE))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--epochs", type=int, help="of the runs that are compared; by default as the recipes say")
    arguments = parser.parse_args()
    if not ARCHIVE.is_file():
        print(f"skipped: {ARCHIVE} is not there")
        return
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    made_sets(out)
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


if __name__ == "__main__":
    main()
