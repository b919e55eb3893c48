"""Scikit-learn's handwritten digits as a tree of pictures."""

from __future__ import annotations

import sys

from glorext.runtime.cli import parser as make_parser
from glorext.runtime.cli import run
from glorext.runtime.errors import SetupError
from glorext.runtime.files import atomic_dir

SIDE, SEED = 32, 0


def write_digits(out) -> tuple[int, int]:
    """Write OUT/train/<digit>/*.png and OUT/val/<digit>/*.png: 32x32 RGB, 80/20, stratified, always the same split.

    Returns:
        How many pictures went to train and to val: 1437 and 360.

    Raises:
        SetupError: scikit-learn is not installed.
        UsageError: OUT exists.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise SetupError(
            expected="scikit-learn, whose handwritten digits these are",
            found="it is not installed",
            do='Run: pip install "scikit-learn>=1.4"',
        ) from error
    from PIL import Image

    scans = load_digits()
    parts = train_test_split(range(len(scans.target)), test_size=0.2, random_state=SEED, stratify=scans.target)
    with atomic_dir(out) as folder:
        for part, indices in zip(("train", "val"), parts):
            for i in sorted(indices):
                # The scans have 17 gray levels, 0 to 16.
                picture = Image.fromarray((scans.images[i] * 255 / 16).round().astype("uint8"))
                path = folder / part / str(scans.target[i]) / f"{i:04}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB").save(path)
    return len(parts[0]), len(parts[1])


def main(argv: list[str]) -> int:
    """`glorext digits`."""
    parser = make_parser(
        "digits", "Write scikit-learn's 1,797 handwritten digits as a folder of pictures.", "glorext digits digits"
    )
    parser.add_argument("out", metavar="OUT", help="new folder for train/<digit>/*.png and val/<digit>/*.png")
    out = parser.parse_args(argv).out
    train, val = write_digits(out)
    print(f"{out}: {train} pictures to train on, {val} to validate on")
    return 0


if __name__ == "__main__":
    sys.exit(run("glorext digits", lambda: main(sys.argv[1:])))
