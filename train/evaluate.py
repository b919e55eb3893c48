"""Top-1 and top-5 of a network on a tree of pictures, every picture exactly once; and `glorext eval`."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from glorext.models import create, network_name, read_checkpoint, weights_digest
from glorext.models.answers import Results, best_classes, latencies, write_results
from glorext.models.labels import LABELS, labels_digest, read_labels
from glorext.runtime.cli import parser as make_subparser
from glorext.runtime.errors import CheckpointError, DataError, UsageError
from glorext.runtime.files import json_bytes, sha256_file, write_json

from .damage import without_damage
from .data import default_workers, list_pictures
from .distributed import Group, join_group
from .pictures import Pictures
from .recipe import Recipe, load_recipe
from .scoring import Scores, forward_of, predictions, score, with_bar

SCHEMA = "glorext.eval/1"


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


def evaluation(
    scores: Scores, pictures: Pictures, spec, weights_sha256: str, network: str, device: str, precision: str
) -> EvalResult:
    """The EvalResult of `scores`."""
    return EvalResult(
        top1=scores.hits1 / scores.count,
        top5=scores.hits5 / scores.count,
        count=scores.count,
        weights_sha256=weights_sha256,
        preprocessing_sha256=spec.digest(),
        labels_sha256=labels_digest(pictures.labels),
        network=network,
        device=device,
        precision=precision,
        versions=versions(),
        data={"folder": pictures.folder.resolve().name, "count": len(pictures), "sha256": pictures.digest()},
        confusion=None if scores.confusion is None else scores.confusion.tolist(),
    )


def versions() -> dict:
    """Versions of what computes: glorext, mindspore, numpy, python."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("glorext", "mindspore", "numpy")}


def evaluate(
    net,
    pictures: Pictures,
    spec,
    checkpoint,
    network: str,
    device: str,
    amp_level: str = "O0",
    batch_size: int = 32,
    workers: int | None = None,
    skip_corrupt: bool = False,
    group: Group = Group(),
) -> tuple[EvalResult, Results]:
    """Measure `net` on `pictures`: the accuracy with its evidence, and every picture's logits.

    Args:
        net: the network, with the weights of `checkpoint`.
        pictures: what `list_pictures` found.
        spec: InputSpec that makes the network's input.
        checkpoint: the file with the weights, for its digests.
        network: the network's name.
        device: "CPU", "GPU" or "Ascend", where it runs.
        amp_level: mixed precision, "O0", "O2", "O3" or "auto".
        batch_size: pictures per step and device.
        workers: threads of each stage of the input pipeline; by default the cores, at most 8.
        skip_corrupt: leave out pictures that cannot be decoded, instead of raising DataError.
        group: the processes that share the pictures; each gets the whole answer.
    """
    import mindspore as ms

    quiet = not group.is_writer
    pictures = without_damage(pictures, skip_corrupt, group, quiet)
    net = ms.amp.auto_mixed_precision(net, amp_level)
    net.set_train(False)
    start = time.perf_counter()
    answers = predictions(
        forward_of(net), pictures, spec, batch_size, min(workers or default_workers(group.size), os.cpu_count()), group
    )
    answers = list(with_bar(answers, len(group.share(len(pictures))), quiet))
    scores = score(answers, pictures, group)
    seconds = time.perf_counter() - start
    weights = weights_digest(checkpoint)
    model = {"file": Path(checkpoint).name, "sha256": sha256_file(checkpoint), "weights_sha256": weights}
    return (
        evaluation(scores, pictures, spec, weights, network, device, amp_level),
        _results(answers, pictures, model, device, batch_size, seconds, group),
    )


def _results(answers, pictures, model, device, batch_size, seconds, group) -> Results:
    logits = np.zeros((len(pictures), len(pictures.labels)), np.float32)
    milliseconds, first = np.zeros(len(pictures)), np.zeros(len(pictures), int)
    for number, (indices, part, spent) in enumerate(answers):
        logits[indices], milliseconds[indices], first[indices] = part, 1000 * spent / len(indices), number == 0
    # Every picture was answered by one process; the others hold zeros.
    logits, milliseconds, first = group.sum(logits), group.sum(milliseconds), group.sum(first).astype(bool)
    order = sorted(range(len(pictures)), key=lambda i: os.fsencode(pictures.paths[i]))
    best = best_classes(logits).tolist()
    latency = latencies([*milliseconds[first], *milliseconds[~first]], int(first.sum()))
    return Results(
        backend="mindspore",
        model=model,
        device=device.lower(),
        batch=batch_size,
        workers=group.size,
        threads=os.cpu_count(),
        logits=logits[order],
        pictures=[{"path": pictures.paths[i], "top5": best[i], "ms": float(milliseconds[i])} for i in order],
        latency_ms=latency,
        throughput=len(pictures) / seconds,
        seconds=seconds,
        stages_ms={"infer": latency["mean"]},
        versions=versions(),
    )


def find_run(path, labels=None, recipe=None, network=None) -> tuple[Path, Recipe, tuple[str, ...] | None]:
    """Checkpoint, recipe and labels that belong together.

    Args:
        path: a run's folder (its best checkpoint counts) or a checkpoint file, in a run's folder or not.
        labels, recipe, network: what the user named, before what is found beside the checkpoint.

    Raises:
        CheckpointError: nothing there.
        UsageError: nothing says which network it is.
    """
    path = Path(path)
    checkpoint = path / "best.ckpt" if path.is_dir() else path
    if not checkpoint.is_file():
        raise CheckpointError(
            expected="a checkpoint file or a run's folder with best.ckpt",
            found="nothing",
            where=checkpoint,
            do="Check the path.",
        )
    beside = checkpoint.parent
    if recipe is None and network is None and (beside / "recipe.yaml").is_file():
        recipe = beside / "recipe.yaml"
    if labels is None and (beside / LABELS).is_file():
        labels = beside / LABELS
    labels = read_labels(labels) if labels else None
    if recipe:
        return checkpoint, load_recipe(recipe, **({"network": network} if network else {})), labels
    network = network or network_name(read_checkpoint(checkpoint))
    if network is None:
        raise UsageError(
            expected="recipe.yaml beside the checkpoint, --recipe or --network",
            found="none of them",
            where=checkpoint,
            do="Its widths and depths are those of no registered network.",
        )
    return checkpoint, Recipe(network=network), labels


def make_parser():
    """The flags of `glorext eval`, the published ones among them."""
    parser = make_subparser(
        "eval",
        "Measure top-1 and top-5 of a checkpoint or a run; every picture counts exactly once.",
        "glorext eval RUN --data_dir pictures/val --out eval.json --results results",
    )
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


def _pictures_for(data_dir, labels, num_classes: int) -> Pictures:
    pictures = list_pictures(data_dir, labels, num_classes)
    if len(pictures.labels) != num_classes:
        raise DataError(
            expected=f"{num_classes} class names, as many as the checkpoint has",
            found=len(pictures.labels),
            where=data_dir,
            do="Give the label list of the training run with --labels FILE.",
        )
    return pictures


def parse(argv: list[str]):
    """The flags of `glorext eval`, checked.

    Raises:
        UsageError: no checkpoint or two, or an impossible batch size.
    """
    arguments = make_parser().parse_args(argv)
    if (arguments.checkpoint is None) == (arguments.pretrained is None):
        raise UsageError(expected="one checkpoint: CKPT or --pretrained CKPT", found="none or two")
    if arguments.batch_size < 1:
        raise UsageError(expected="--batch_size of at least 1", found=arguments.batch_size)
    return arguments


def main(argv: list[str]) -> int:
    """`glorext eval` and `python -m glorext.train.evaluate`."""
    arguments = parse(argv)
    checkpoint, recipe, labels = find_run(
        arguments.checkpoint or arguments.pretrained, arguments.labels, arguments.recipe, arguments.network
    )
    content = read_checkpoint(checkpoint)
    pictures = _pictures_for(arguments.data_dir, labels, content.num_classes)
    device, group = join_group(arguments.device_target, arguments.device_id)
    net = create(recipe.network, checkpoint=content, num_classes=content.num_classes, **recipe.network_args)
    result, results = evaluate(
        net,
        pictures,
        recipe.input_spec(),
        checkpoint,
        recipe.network,
        device,
        arguments.amp_level,
        arguments.batch_size,
        recipe.workers,
        arguments.skip_corrupt,
        group,
    )
    if not group.is_writer:
        return 0
    if arguments.json:
        print(json_bytes(asdict(result)).decode(), end="", flush=True)
    else:
        print(f"{recipe.network} on {result.count} pictures of {pictures.folder}, {results.seconds:.1f} s")
        print(f"acc={result.top1:.2%}(TOP1)\nacc={result.top5:.2%}(TOP5)\n{{'Accuracy': {result.top1}}}", flush=True)
    if arguments.out:
        result.write(arguments.out)
    if arguments.results:
        write_results(arguments.results, results)
    return 0


if __name__ == "__main__":
    from glorext.runtime.cli import main as command

    sys.exit(command(["eval", *sys.argv[1:]]))
