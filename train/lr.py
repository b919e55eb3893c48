"""`glorext lr`: the learning rate of every step of a run, as an array or as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glorext.runtime.cli import parser as make_parser
from glorext.runtime.errors import UsageError
from glorext.runtime.files import atomic_path

from .command import parse
from .schedules import learning_rates


def plot(rates: np.ndarray, steps_per_epoch: int, title: str, path) -> None:
    """Draw learning rates over epochs into a PNG file."""
    from glorext.runtime.charts import new_chart, style, write_png

    with style():
        figure, axes = new_chart(title, "epoch", "learning rate", (8, 4))
        axes.plot(np.arange(len(rates)) / steps_per_epoch, rates)
        axes.set_ylim(bottom=0)
        axes.grid()
        write_png(figure, path)


def main(argv: list[str]) -> int:
    """`glorext lr`: write the learning rates of a recipe as its flags change it."""
    parser = make_parser(
        "lr",
        "Write the learning rate of every step of a recipe: an array (.npy) or a plot (.png). Every flag of `glorext "
        "train` that changes the recipe changes it here too, such as --epochs 5.",
        "glorext lr --recipe glore_res50_imagenet --steps_per_epoch 1251 --out lr.png",
    )
    parser.add_argument("--recipe", required=True, help="name or YAML file")
    parser.add_argument("--steps_per_epoch", type=int, required=True, help="1251 for ImageNet on 8 devices x 128")
    parser.add_argument("--out", type=Path, required=True, help="FILE.npy or FILE.png")
    arguments, flags = parser.parse_known_args(argv)
    if arguments.out.suffix not in (".npy", ".png"):
        raise UsageError(expected="a name that ends with .npy or .png", found=str(arguments.out), where="--out")
    _, recipe = parse(["--recipe", arguments.recipe, *flags], runs=False)
    rates = learning_rates(recipe, arguments.steps_per_epoch)
    if arguments.out.suffix == ".npy":
        with atomic_path(arguments.out) as temporary:
            np.save(temporary, rates)
    else:
        plot(rates, arguments.steps_per_epoch, arguments.recipe, arguments.out)
    print(f"{arguments.out}: {len(rates)} steps, from {rates[0]:.6g} over {rates.max():.6g} to {rates[-1]:.6g}")
    return 0
