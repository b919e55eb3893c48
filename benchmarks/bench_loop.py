"""Claim: the training loop adds little to the compiled step, a start on a million pictures and a resume take seconds.

    python benchmarks/bench_loop.py [--only step start resume] [--pictures 1000000] [--folder FOLDER]

step    milliseconds a step with a network that costs next to nothing: the compiled step alone, with the same batch
        again and again; `glorext train`, with its bar, lines and log; and MindSpore's own loop, Model.train, over the
        same pipeline with a callback that reads the loss, as LossMonitor does. Its step is a smaller one, without the
        gradients' norm and the check for inf and nan.
start   seconds until the pictures of a tree are listed and an epoch's order is drawn, beside MindSpore's own listing.
resume  seconds until the first batch of a run that goes on in the middle of an epoch, beside MindSpore's own way, a
        pipeline that skips (`skip`), which computes all batches before.

Trees are made of hard links, in FOLDER (by default the system's folder for temporary files), and removed again.
"""

import contextlib
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import SMALL, Row, hand_over, options
from PIL import Image

STEPS, BATCH, SIDE = 400, 4, 16
EACH = 1000  # pictures of a class: hard links to one, of which file systems allow some 65,000


def made_tree(folder: Path, count: int, size: tuple[int, int], ending: str) -> Path:
    """A tree of `count` pictures of `size`, width and height."""
    noise = np.random.default_rng(0).integers(0, 255, (size[1] // 25 + 1, size[0] // 25 + 1, 3), np.uint8)
    each = min(EACH, -(-count // 2))  # at least two classes
    for number in range(-(-count // each)):
        of_class = folder / f"n{number:04}"
        of_class.mkdir(parents=True)
        Image.fromarray(noise).resize(size).save(of_class / f"0000{ending}", quality=90)
        for i in range(1, min(each, count - number * each)):
            os.link(of_class / f"0000{ending}", of_class / f"{i:04}{ending}")
    return folder


def recipe_for(out, **keys):
    """A run of the small network."""
    from glorext.train import Recipe

    return Recipe(
        network_args=SMALL, save_checkpoint=False, ckpt_path=str(out), **{"workers": 2, "batch_size": BATCH, **keys}
    )


def per_step(stamps) -> float:
    """Milliseconds of a step, from the times of many."""
    return 1000 * statistics.median(np.diff(stamps[len(stamps) // 4 :]))


def ours(tree: Path, out: Path) -> float:
    """`glorext train` of one epoch, as from the command line."""
    import glorext
    from glorext.train import Callback

    stamps: list[float] = []

    class Watch(Callback):
        def on_step(self, event):
            stamps.append(time.perf_counter())

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        glorext.train(
            "digits", tree, device="CPU", out=out, epochs=1, batch_size=BATCH, workers=2, network_args=SMALL,
            input={"size": SIDE, "resize": SIDE}, warmup_epochs=0, callbacks=[Watch()], save_checkpoint=False,
        )  # fmt: skip
    return per_step(stamps)


def step_alone(tree: Path, out: Path) -> float:
    """The compiled step with one batch, its numbers read one step later, as the loop does."""
    import mindspore as ms

    from glorext.models import create
    from glorext.train.step import TrainStep

    net, stamps = create("resnext50", **SMALL, num_classes=7), []
    recipe = recipe_for(out)
    step = TrainStep(net.set_train(), net.trainable_params(), recipe, np.full(STEPS, 0.01, np.float32), 7)
    generator = np.random.default_rng(0)
    images = ms.Tensor(generator.normal(size=(BATCH, 3, SIDE, SIDE)).astype(np.float32))
    targets, before = ms.Tensor(generator.integers(0, 7, BATCH).astype(np.int32)), None
    for _ in range(STEPS):
        after = step.launch(images, targets)
        if before:
            before()
        before = after
        stamps.append(time.perf_counter())
    return per_step(stamps)


def model_train(tree: Path, out: Path) -> float:
    """MindSpore's own loop."""
    import mindspore as ms
    from mindspore import nn

    from glorext.models import InputSpec, create
    from glorext.train.data import batches, evaluation_steps, list_pictures

    pictures, stamps = list_pictures(tree), []

    class Watch(ms.Callback):
        def step_end(self, run_context):
            run_context.original_args().net_outputs.asnumpy()
            stamps.append(time.perf_counter())

    net = create("resnext50", **SMALL, num_classes=len(pictures.labels))
    optimizer = nn.Momentum(net.trainable_params(), 0.01, 0.9, 1e-4)
    order = np.random.default_rng(0).permutation(len(pictures))
    steps = evaluation_steps(InputSpec(size=SIDE, resize=SIDE, resize_rule="squash"))
    pipeline = batches(pictures.source(order), steps, BATCH, 2)
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)  # compiled as a whole, too
    ms.Model(net, nn.CrossEntropyLoss(), optimizer).train(1, pipeline, Watch(), dataset_sink_mode=False)
    ms.set_context(mode=mode)
    return per_step(stamps)


def compare_steps(folder: Path, arguments) -> list[Row]:
    """Print the table of the loops."""
    tree = made_tree(folder / "tree", arguments.steps * BATCH, (SIDE, SIDE), ".png")
    found: dict[str, list[float]] = {}
    for k in range(arguments.rounds):
        for name, run in (("the compiled step", step_alone), ("glorext train", ours), ("Model.train", model_train)):
            found.setdefault(name, []).append(run(tree, folder / f"{name}{k}"))
    alone, beyond = statistics.median(found["the compiled step"]), {}
    beyond["glorext train"] = f"{statistics.median(found['glorext train']) - alone:.2f}"
    print("\n| loop | ms a step | beyond the compiled step |\n|---|---|---|")
    for name, each in found.items():
        print(f"| {name} | {statistics.median(each):.2f} | {beyond.get(name, '')} |")
    middle = {name: statistics.median(each) for name, each in found.items()}
    mine = middle.pop("glorext train")
    return [Row(f"a step, beside {name}", "ms", mine, name, value) for name, value in middle.items()]


def compare_starts(folder: Path, arguments) -> list[Row]:
    """Print the table of the listings."""
    import mindspore.dataset as ds

    from glorext.train.data import list_pictures
    from glorext.train.pictures import epoch_order, shard

    tree = made_tree(folder / "tree", arguments.pictures, (16, 16), ".png")
    found: dict[str, list[float]] = {"MindSpore's listing": [], "glorext's listing": [], "an epoch's order": []}
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        count = ds.ImageFolderDataset(str(tree)).get_dataset_size()
        found["MindSpore's listing"].append(time.perf_counter() - start)
        start = time.perf_counter()
        pictures = list_pictures(tree)
        found["glorext's listing"].append(time.perf_counter() - start)
        start = time.perf_counter()
        shard(epoch_order(len(pictures), 1, 0), 128, 0, 8)
        found["an epoch's order"].append(time.perf_counter() - start)
        assert count == len(pictures)
    print(f"\n| {arguments.pictures:,} pictures | s |\n|---|---|")
    for name, each in found.items():
        print(f"| {name} | {statistics.median(each):.2f} |")
    ours, theirs = (statistics.median(found[f"{whose} listing"]) for whose in ("glorext's", "MindSpore's"))
    return [Row("listing the pictures", "s", ours, "MindSpore", theirs)]


def compare_resumes(folder: Path, arguments) -> list[Row]:
    """Print the table of the first batches."""
    from glorext.train import run as run_module
    from glorext.train.data import list_pictures
    from glorext.train.distributed import Group
    from glorext.train.run import SEGMENT, Run
    from glorext.train.run_folder import RunFolder

    segment = 64 if arguments.smoke else SEGMENT
    batch, count, rows = 32, 2 * segment, []
    pictures = list_pictures(made_tree(folder / "tree", count, (500, 375), ".jpg"))
    recipe = recipe_for(folder / "run", augmentation="color_jitter", batch_size=batch, epochs=1)
    run = Run(recipe, pictures, None, RunFolder(folder / "run", False), "CPU", Group(0, 1), True, None)
    order = np.random.default_rng(0).permutation(count)

    def until_first_batch(first, segment):
        run_module.SEGMENT = segment
        start = time.perf_counter()
        with contextlib.closing(run.feed(order, 0, first)) as feed:
            next(iter(feed))
        return time.perf_counter() - start

    print(f"\n{count:,} photographs' sizes, batch {batch}\n")
    print("| goes on at step | glorext, s | a pipeline that skips, s | ratio |\n|---|---|---|---|")
    for first in (0, 3) if arguments.smoke else (0, 512, 1100):
        mine, plain = until_first_batch(first, segment), until_first_batch(first, count)
        print(f"| {first} of {count // batch} | {mine:.1f} | {plain:.1f} | {mine / plain:.2f} |", flush=True)
        rows.append(Row(f"first batch from step {first}", "s", mine, "a pipeline that skips", plain))
    return rows


TABLES = {"step": compare_steps, "start": compare_starts, "resume": compare_resumes}


def main() -> None:
    """Measure and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--pictures", type=int, default=1_000_000, help="of the tree whose listing is measured")
    parser.add_argument("--folder", type=Path, help="where trees are made")
    arguments = parser.parse_args()
    arguments.steps, arguments.rounds = STEPS, 3
    if arguments.smoke:
        arguments.steps, arguments.rounds, arguments.pictures = 20, 1, 2000
    rows = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            rows += TABLES[name](Path(folder), arguments)
    hand_over(arguments, __doc__, rows)


if __name__ == "__main__":
    main()
