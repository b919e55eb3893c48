"""Claim: the input pipelines run on MindSpore's C++ and need less processor time per picture than Pillow with NumPy.

    python benchmarks/bench_input.py [--data PICTURES] [--rounds 3] [--peer_python PYTHON]

PICTURES/<class>/<file> are real photographs; without the option, pictures of their size are made. Pictures per second
of processor time, all threads counted, so that a busy machine does not distort the comparison. torchvision's transforms
take part where `--peer_python` has it.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import Row, hand_over, options, peer_of, pictures_in

PEER = Path(__file__).parent / "input_peers.py"


def mindspore_pipeline(pictures, steps, batch=8):
    """A function that reads every picture once through MindSpore."""
    from glorext.train.data import batches

    places = np.arange(len(pictures) // batch * batch)

    def run():
        for _ in batches(pictures.source(places), steps(), batch, 1).create_tuple_iterator(
            num_epochs=1, output_numpy=True
        ):
            pass
        return len(places)

    return run


def pillow_evaluation(pictures, spec):
    """A function that does the evaluation pipeline with Pillow and NumPy."""
    from PIL import Image

    mean, std = (np.array(values, np.float32) for values in (spec.mean, spec.std))

    def run():
        for path in pictures.paths:
            picture = (
                Image.open(pictures.folder / path).convert("RGB").resize((spec.resize,) * 2, Image.Resampling.BILINEAR)
            )
            edge = (spec.resize - spec.size) // 2
            pixels = np.asarray(picture.crop((edge, edge, edge + spec.size, edge + spec.size)), np.float32)
            np.ascontiguousarray(((pixels / 255 - mean) / std).transpose(2, 0, 1))
        return len(pictures)

    return run


def pillow_training(pictures, spec):
    """A function that does crop, flip and color jitter with Pillow and NumPy."""
    from PIL import Image, ImageEnhance

    mean, std = (np.array(values, np.float32) for values in (spec.mean, spec.std))
    generator = np.random.default_rng(0)

    def run():
        for path in pictures.paths:
            picture = Image.open(pictures.folder / path).convert("RGB")
            width, height = picture.size
            area, ratio = (
                width * height * generator.uniform(0.08, 1),
                np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3))),
            )
            w, h = min(width, int((area * ratio) ** 0.5)), min(height, int((area / ratio) ** 0.5))
            x, y = generator.integers(0, width - w + 1), generator.integers(0, height - h + 1)
            picture = picture.resize((spec.size,) * 2, Image.Resampling.BILINEAR, (x, y, x + w, y + h))
            if generator.random() < 0.5:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                picture = enhancer(picture).enhance(generator.uniform(0.6, 1.4))
            pixels = np.asarray(picture, np.float32)
            np.ascontiguousarray(((pixels / 255 - mean) / std).transpose(2, 0, 1))
        return len(pictures)

    return run


def torchvision_rates(python: str, pictures, spec) -> dict[str, float]:
    """Pictures per second of processor time of torchvision's transforms, by pipeline."""
    settings = {"size": spec.size, "resize": spec.resize, "mean": list(spec.mean), "std": list(spec.std)}
    words = [python, str(PEER), str(pictures.folder), json.dumps(settings)]
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    """Measure in turns and print one table."""
    parser = options(__doc__, peer=True, pictures=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds = 1
    with tempfile.TemporaryDirectory() as scratch:
        measure(pictures_in(arguments, Path(scratch)), arguments)


def measure(folder: Path, arguments) -> None:
    """Measure with the pictures of `folder`."""
    from glorext.models import InputSpec
    from glorext.train.data import evaluation_steps, list_pictures, training_steps

    pictures, spec = list_pictures(folder), InputSpec()
    runs = {
        ("eval", "MindSpore"): mindspore_pipeline(pictures, lambda: evaluation_steps(spec)),
        ("eval", "Pillow + NumPy"): pillow_evaluation(pictures, spec),
        ("train", "MindSpore"): mindspore_pipeline(pictures, lambda: training_steps(spec, "color_jitter")),
        ("train", "Pillow + NumPy"): pillow_training(pictures, spec),
        ("train, AutoAugment", "MindSpore"): mindspore_pipeline(pictures, lambda: training_steps(spec, "autoaugment")),
    }
    peer = peer_of(arguments, "torchvision")
    found: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(arguments.rounds + 1):
        for key, run in runs.items():
            start = time.process_time()
            count = run()
            found[key].append(count / (time.process_time() - start))
        if peer:
            for name, rate in torchvision_rates(arguments.peer_python, pictures, spec).items():
                found.setdefault((name, peer), []).append(rate)
    print(f"{len(pictures)} pictures; pictures per second of one core, median of {arguments.rounds} rounds\n")
    print("| pipeline | by | pictures/s per core |\n|---|---|---|")
    for (name, by), rates in sorted(found.items()):
        print(f"| {name} | {by} | {statistics.median(rates[1:]):.0f} |")  # the first round warms up
    if not peer:
        print("\ntorchvision is not installed: not compared")
    middle = {key: statistics.median(rates[1:]) for key, rates in found.items()}
    rows = []
    for name in ("eval", "train"):
        ours, by = middle[name, "MindSpore"], "Pillow + NumPy"
        rows.append(Row(name, "pictures/s a core", ours, by, middle[name, by], "more"))
        if peer:
            rows.append(Row(f"{name}, torchvision", "pictures/s a core", ours, peer, middle[name, peer], "more"))
    hand_over(arguments, __doc__, rows)


if __name__ == "__main__":
    main()
