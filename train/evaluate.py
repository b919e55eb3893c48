"""Top-1 and top-5 of a network on a tree of pictures, every picture exactly once; and `glorext eval`."""
from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from glorext.runtime.errors import CheckpointError, DataError, UsageError
from glorext.runtime.files import sha256_file, write_json

from .data import (Pictures, batches, class_folders, culprit_named, default_workers, evaluation_steps, list_pictures)
from .labels import labels_digest, read_labels
from .recipe import Recipe, load_recipe
from .results import Results, best_classes, latencies, write_results

SCHEMA = "glorext.eval/1"
CONFUSION_UP_TO = 100


@dataclass
class EvalResult:
    """A measured accuracy with the digests of everything it depends on; eval.json, which `glorext.hub.evidence` reads.

    Attributes:
        top1, top5: fractions of `count`, 0..1.
        weights_sha256, preprocessing_sha256, labels_sha256: digests of weights, InputSpec and label list.
        data: name of the folder, number of pictures and digest of their relative paths.
        confusion: rows are classes, columns answers, for up to 100 classes; else None.
    """

    top1: float
    top5: float
    count: int
    weights_sha256: str
    preprocessing_sha256: str
    labels_sha256: str
    network: str
    device: str
    precision: str
    versions: dict
    data: dict
    confusion: list | None

    def write(self, path) -> None:
        """Write eval.json, atomically."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})


@dataclass
class Scores:
    """What one pass over the pictures gave, summed over all devices."""

    hits1: int
    hits5: int
    count: int
    confusion: np.ndarray | None


def forward_of(net, jit_level: str = "O0"):
    """`net` compiled for inference: images (N, 3, H, W) to logits (N, K). Called only while net is in that mode."""
    import mindspore as ms

    @ms.jit(jit_level=jit_level)
    def forward(images):
        return net(images)

    return forward


def predictions(forward, pictures: Pictures, spec, batch_size: int, workers: int, rank: int = 0, group_size: int = 1):
    """Answers for every picture of this rank, batch by batch.

    The last batch is filled up so that the graph sees one shape; the filling is cut off again.

    Yields:
        indices into `pictures`, float32 logits (N, K), seconds for the batch.
    """
    mine = np.arange(len(pictures))[rank::group_size]
    filled = np.concatenate([mine, np.zeros(-len(mine) % batch_size, int)])
    pipeline = batches(pictures.source(filled), evaluation_steps(spec), batch_size, workers)
    with culprit_named():
        for i, (images, _) in enumerate(pipeline.create_tuple_iterator(num_epochs=1)):
            start = time.perf_counter()
            logits = forward(images).asnumpy()
            seconds = time.perf_counter() - start
            indices = mine[i * batch_size:(i + 1) * batch_size]
            if not np.isfinite(logits).all():
                raise CheckpointError(expected="finite logits", found="inf or nan",
                                      where=f"the batch from {pictures.paths[indices[0]]}")
            yield indices, logits[:len(indices)].astype(np.float32), seconds


def score(answers, pictures: Pictures, total=lambda counts: counts) -> Scores:
    """Count the right ones among `answers`, which `predictions` yields.

    Args:
        total: sums an int64 array over all devices.

    Raises:
        DataError: not every picture was answered exactly once.
    """
    classes = len(pictures.labels)
    confusion = np.zeros((classes, classes) if classes <= CONFUSION_UP_TO else (0, 0), np.int64)
    hits1 = hits5 = 0
    seen = np.zeros(len(pictures), np.int64)
    for indices, logits, _ in answers:
        if logits.shape[1] != classes:
            raise CheckpointError(expected=f"{classes} classes, as in the label list", found=f"{logits.shape[1]} logits")
        best, truth = best_classes(logits), pictures.targets[indices]
        hits1 += int((best[:, 0] == truth).sum())
        hits5 += int((best == truth[:, None]).sum())
        np.add.at(seen, indices, 1)
        if confusion.size:
            np.add.at(confusion, (truth, best[:, 0]), 1)
    sums = total(np.concatenate([[hits1, hits5], seen, confusion.ravel()]).astype(np.int64))
    seen = sums[2:2 + len(pictures)]
    if not (seen == 1).all():
        wrong = int(np.flatnonzero(seen != 1)[0])
        raise DataError(expected=f"each of the {len(pictures)} pictures scored once",
                        found=f"{pictures.paths[wrong]} {seen[wrong]} times", where=pictures.folder)
    confusion = sums[2 + len(pictures):].reshape(confusion.shape) if confusion.size else None
    return Scores(int(sums[0]), int(sums[1]), len(pictures), confusion)


def evaluation(scores: Scores, pictures: Pictures, spec, weights_sha256: str, network: str, device: str,
               precision: str) -> EvalResult:
    """The EvalResult of `scores`."""
    return EvalResult(
        top1=scores.hits1 / scores.count, top5=scores.hits5 / scores.count, count=scores.count,
        weights_sha256=weights_sha256, preprocessing_sha256=spec.digest(), labels_sha256=labels_digest(pictures.labels),
        network=network, device=device, precision=precision, versions=versions(),
        data={"folder": pictures.folder.resolve().name, "count": len(pictures), "sha256": pictures.digest()},
        confusion=None if scores.confusion is None else scores.confusion.tolist())


def versions() -> dict:
    """Versions of what computes: glorext, mindspore, numpy, python."""
    import platform
    from importlib.metadata import version
    return {"python": platform.python_version()} | {name: version(name) for name in ("glorext", "mindspore", "numpy")}


def with_bar(answers, pictures, quiet: bool = False):
    """`answers` with a progress bar in pictures."""
    from tqdm import tqdm
    with tqdm(total=len(pictures), desc="evaluate", unit="picture", disable=quiet, leave=False) as bar:
        for answer in answers:
            bar.update(len(answer[0]))
            yield answer


def evaluate(net, pictures: Pictures, spec, checkpoint, network: str, device: str, amp_level: str = "O0",
             batch_size: int = 32, workers: int | None = None, skip_corrupt: bool = False) -> tuple[EvalResult, Results]:
    """Measure `net` on `pictures`: the accuracy with its evidence, and every picture's logits.

    Args:
        net: the network, with the weights of `checkpoint`.
        pictures: what `list_pictures` found.
        spec: InputSpec that makes the network's input.
        checkpoint: the file with the weights, for its digests.
        network: the network's name.
        device: "CPU", "GPU" or "Ascend", where it runs.
        amp_level: mixed precision, "O0", "O2", "O3" or "auto".
        batch_size: pictures per step.
        workers: threads that read pictures; at most the number of cores, which is also the default.
        skip_corrupt: leave out pictures that cannot be decoded, instead of raising DataError.
    """
    import mindspore as ms
    from glorext.models import weights_digest

    from .damage import without_damage
    pictures = without_damage(pictures, skip_corrupt, quiet=False)
    net = ms.amp.auto_mixed_precision(net, amp_level)
    net.set_train(False)
    start = time.perf_counter()
    answers = predictions(forward_of(net), pictures, spec, batch_size,
                          min(workers or default_workers(), os.cpu_count()))
    answers = list(with_bar(answers, pictures))
    seconds = time.perf_counter() - start
    weights = weights_digest(checkpoint)
    model = {"file": Path(checkpoint).name, "sha256": sha256_file(checkpoint), "weights_sha256": weights}
    return (evaluation(score(answers, pictures), pictures, spec, weights, network, device, amp_level),
            _results(answers, pictures, model, device, batch_size, seconds))


def _results(answers, pictures, model, device, batch_size, seconds) -> Results:
    logits = np.concatenate([part for _, part, _ in answers])
    milliseconds = [1000 * spent / len(indices) for indices, _, spent in answers for _ in indices]
    order = sorted(range(len(pictures)), key=lambda i: os.fsencode(pictures.paths[i]))
    best = best_classes(logits).tolist()
    kept = latencies(milliseconds, len(answers[0][0]))
    return Results(
        backend="mindspore", model=model, device=device.lower(), batch=batch_size, workers=1, threads=os.cpu_count(),
        logits=logits[order], pictures=[{"path": pictures.paths[i], "top5": best[i], "ms": milliseconds[i]}
                                        for i in order],
        latency_ms=kept, throughput=len(pictures) / seconds, seconds=seconds, stages_ms={"infer": kept["mean"]},
        versions=versions())


def find_run(path, labels=None, recipe=None, network=None) -> tuple[Path, Recipe, tuple[str, ...] | None]:
    """Checkpoint, recipe and labels that belong together.

    Args:
        path: a run's folder (its best checkpoint counts) or a checkpoint file, in a run's folder or not.
        labels, recipe, network: what the user named, before what is found beside the checkpoint.

    Raises:
        CheckpointError: nothing there.
        UsageError: nothing says which network it is.
    """
    from glorext.models import network_name, read_checkpoint
    path = Path(path)
    checkpoint = path / "best.ckpt" if path.is_dir() else path
    if not checkpoint.is_file():
        raise CheckpointError(expected="a checkpoint file or a run's folder with best.ckpt", found="nothing",
                              where=checkpoint, do="Check the path.")
    beside = checkpoint.parent
    if recipe is None and network is None and (beside / "recipe.yaml").is_file():
        recipe = beside / "recipe.yaml"
    if labels is None and (beside / "labels.txt").is_file():
        labels = beside / "labels.txt"
    labels = read_labels(labels) if labels else None
    if recipe:
        return checkpoint, load_recipe(recipe, **({"network": network} if network else {})), labels
    network = network or network_name(read_checkpoint(checkpoint))
    if network is None:
        raise UsageError(expected="recipe.yaml beside the checkpoint, --recipe or --network", found="none of them",
                         where=checkpoint, do="Its widths and depths are those of no registered network.")
    return checkpoint, Recipe(network=network), labels


def make_parser():
    """The flags of `glorext eval`, the published ones among them."""
    from glorext.runtime.cli import parser as make
    parser = make("eval", "Measure top-1 and top-5 of a checkpoint or a run; every picture counts exactly once.",
                  "glorext eval RUN --data_dir pictures/val --out eval.json --results results")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file, or a run's folder (its best.ckpt)")
    parser.add_argument("--pretrained", metavar="CKPT", help="published spelling of the checkpoint")
    parser.add_argument("--data_dir", required=True, help="folder with one folder of pictures per class")
    parser.add_argument("--labels", help="class names, one per line; by default labels.txt beside the checkpoint")
    parser.add_argument("--recipe", help="name or YAML file; by default recipe.yaml beside the checkpoint")
    parser.add_argument("--network", help="name of the network, where there is no recipe")
    parser.add_argument("--device_target", "--platform", default="auto", help="auto, CPU, GPU or Ascend")
    parser.add_argument("--device_id", type=int, help="which card")
    parser.add_argument("--amp_level", choices=("O0", "O2", "O3", "auto"), default="O0", help="mixed precision")
    parser.add_argument("--batch_size", "--per_batch_size", type=int, default=32, help="pictures per step")
    parser.add_argument("--out", help="write the measurement here, as JSON")
    parser.add_argument("--results", help="write every picture's logits into this folder")
    parser.add_argument("--skip_corrupt", action="store_true", help="leave out pictures that cannot be decoded")
    parser.add_argument("--json", action="store_true", help="print the measurement as JSON")
    return parser


def _labels_for(data_dir, labels, num_classes: int) -> tuple[str, ...]:
    labels = labels or tuple(class_folders(data_dir))
    if len(labels) != num_classes:
        raise DataError(expected=f"{num_classes} class names, as many as the checkpoint has", found=len(labels),
                        where=data_dir, do="Give the label list of the training run with --labels FILE.")
    return labels


def main(argv: list[str]) -> int:
    """`glorext eval` and `python -m glorext.train.evaluate`."""
    arguments = make_parser().parse_args(argv)
    if (arguments.checkpoint is None) == (arguments.pretrained is None):
        raise UsageError(expected="one checkpoint: CKPT or --pretrained CKPT", found="none or two")
    if arguments.batch_size < 1:
        raise UsageError(expected="--batch_size of at least 1", found=arguments.batch_size)
    checkpoint, recipe, labels = find_run(arguments.checkpoint or arguments.pretrained, arguments.labels,
                                          arguments.recipe, arguments.network)
    from glorext.models import create, read_checkpoint
    content = read_checkpoint(checkpoint)
    pictures = list_pictures(arguments.data_dir, _labels_for(arguments.data_dir, labels, content.num_classes))
    from glorext.runtime import set_device
    device = set_device(arguments.device_target, arguments.device_id)
    net = create(recipe.network, checkpoint=content, num_classes=content.num_classes, **recipe.network_args)
    result, results = evaluate(net, pictures, recipe.input_spec(), checkpoint, recipe.network, device,
                               arguments.amp_level, arguments.batch_size, recipe.workers, arguments.skip_corrupt)
    if arguments.out:
        result.write(arguments.out)
    if arguments.results:
        write_results(arguments.results, results)
    if arguments.json:
        from glorext.runtime import json_bytes
        print(json_bytes(asdict(result)).decode(), end="")
        return 0
    print(f"{recipe.network} on {result.count} pictures of {pictures.folder}, {results.seconds:.1f} s")
    print(f"acc={result.top1:.2%}(TOP1)\nacc={result.top5:.2%}(TOP5)\n{{'Accuracy': {result.top1}}}")
    return 0


if __name__ == "__main__":
    from glorext.runtime.cli import main as command
    sys.exit(command(["eval", *sys.argv[1:]]))
