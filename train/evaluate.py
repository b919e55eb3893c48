"""Top-1 and top-5 of a network on a tree of pictures, every picture exactly once; and `glorext eval`."""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import sys
import time
from importlib.metadata import version as installed

import numpy as np

from glorext.hub.open_model import add_model_arguments, open_model
from glorext.models.answers import Results, best_classes, latencies, write_results
from glorext.models.calibration import BINS, calibration
from glorext.models.evaluation import EvalResult
from glorext.models.labels import labels_digest
from glorext.models.per_class import class_scores, confusion_matrix, mean_of, most_confused, write_confusion
from glorext.models.trained import Identity, TrainedModel
from glorext.runtime import version
from glorext.runtime.cli import parser as make_subparser
from glorext.runtime.errors import CheckpointError, DataError, UsageError, printable
from glorext.runtime.files import json_bytes, sha256_file

from .damage import without_damage
from .data import default_workers, list_pictures
from .distributed import Group, join_group
from .pictures import Pictures, evaluation_part
from .recipe_file import load_recipe
from .scoring import Scores, forward_of, predictions, score, with_bar
from .split import listed, unseen

CONFUSION_UP_TO = 100  # classes: the matrix of more would be most of an eval.json
CONFUSED_SHOWN = 3


def evaluation(scores: Scores, pictures: Pictures, model: Identity, device: str, precision: str) -> EvalResult:
    """The EvalResult of `scores`, which the weights of `model` gave on `pictures`."""
    truths, answers, labels = pictures.targets, scores.answers, pictures.labels
    return EvalResult(
        top1=scores.hits1 / scores.count,
        top5=None if scores.hits5 is None else scores.hits5 / scores.count,
        count=scores.count,
        weights_sha256=model.weights_sha256,
        preprocessing_sha256=model.input_spec.digest(),
        labels_sha256=labels_digest(pictures.labels),
        network=model.network,
        device=device,
        precision=precision,
        versions=versions(),
        data={"folder": pictures.folder.resolve().name, "count": len(pictures), "sha256": pictures.digest()},
        confusion=confusion_matrix(truths, answers, len(labels)).tolist() if len(labels) <= CONFUSION_UP_TO else None,
        loss=scores.loss,
        classes=class_scores(truths, answers, labels),
        confused=most_confused(truths, answers, labels),
        calibration=calibration(scores.confidences, answers == truths),
    )


def accuracy_lines(result: EvalResult) -> str:
    """An accuracy as the published evaluation prints it; no top-5 where there is none."""
    top5 = "" if result.top5 is None else f"\nacc={result.top5:.2%}(TOP5)"
    return f"acc={result.top1:.2%}(TOP1){top5}"


def class_lines(result: EvalResult) -> str:
    """How the classes fared, on one line, and their most frequent mistakes, if any, on another."""
    assert result.classes is not None and result.calibration is not None  # `evaluation` measures both
    counts = {score.label: score.count for score in result.classes}
    lines = [
        f"mean of the classes: recall {mean_of(result.classes, 'recall'):.2%}, F1 {mean_of(result.classes, 'f1'):.2%}; "
        f"calibration error {result.calibration.ece:.2%} (ECE, {BINS} bins)"
    ]
    if result.confused:
        kinds = (f"{pair.truth} as {pair.answer} ({pair.times} of {counts[pair.truth]})" for pair in result.confused)
        lines.append(f"most often confused: {', '.join(itertools.islice(kinds, CONFUSED_SHOWN))}")
    return "\n".join(map(printable, lines))


def versions() -> dict[str, str]:
    """Versions of what computes: glorext, mindspore, numpy, python."""
    found = {name: installed(name) for name in ("mindspore", "numpy")}
    return {"python": platform.python_version(), "glorext": version(), **found}


def evaluate(
    net,
    model: TrainedModel,
    pictures: Pictures,
    device: str,
    amp_level: str = "O0",
    batch_size: int = 32,
    workers: int | None = None,
    skip_corrupt: bool = False,
    group: Group = Group(),
) -> tuple[EvalResult, Results]:
    """Measure `net` on `pictures`: the accuracy with its evidence, and every picture's logits.

    Args:
        net: the network of `model` with its weights.
        model: which model it is; its InputSpec makes the network's input.
        pictures: what `list_pictures` found.
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
    workers = min(workers or default_workers(group.size), os.cpu_count() or 1)
    answers = predictions(forward_of(net), pictures, model.input_spec, batch_size, workers, group)
    answers = list(with_bar(answers, len(group.share(len(pictures))), quiet))
    scores = score(answers, pictures, group)
    seconds = time.perf_counter() - start
    return (
        evaluation(scores, pictures, model, device, amp_level),
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
        model=model.identity(),
        artifact={
            "file": model.checkpoint.name,
            "sha256": sha256_file(model.checkpoint),
            "output": "logits",
            "weights_dtype": "float32",
        },
        device=device.lower(),
        batch=batch_size,
        workers=group.size,
        threads=os.cpu_count() or 1,
        logits=logits[order],
        pictures=[{"path": pictures.paths[i], "top5": best[i], "ms": float(milliseconds[i])} for i in order],
        latency_ms=latency,
        throughput=len(pictures) / seconds,
        seconds=seconds,
        stages_ms={"infer": latency["mean"]},
        versions=versions(),
    )


def _write_confusion(path, results: Results, labels: tuple[str, ...]) -> None:
    index = {label: number for number, label in enumerate(labels)}
    truths = np.array([index[picture["path"].split("/")[0]] for picture in results.pictures])
    write_confusion(path, truths, np.array([picture["top5"][0] for picture in results.pictures]), labels)


def make_parser():
    """The flags of `glorext eval`, the published ones among them."""
    parser = make_subparser(
        "eval",
        "Measure top-1 and top-5 of a model; every picture counts exactly once.",
        "glorext eval RUN --data pictures/val --out eval.json --results results",
    )
    add_model_arguments(parser, optional=True)
    parser.add_argument("--pretrained", "--checkpoint_file_path", metavar="MODEL", help="published spelling of MODEL")
    parser.add_argument(
        "--data",
        dest="data_dir",
        metavar="FOLDER",
        required=True,
        help="folder with one folder of pictures per class, or with train and val, of which val is taken; or a list",
    )
    parser.add_argument("--files", help="which pictures of the folder count: a list of <class>/<file>; by default all")
    parser.add_argument("--recipe", help="name or YAML file whose network and input are used instead of the model's")
    parser.add_argument(
        "--device", dest="device_target", metavar="DEVICE", default="auto", help="auto, CPU, GPU or Ascend"
    )
    parser.add_argument("--device_id", type=int, help="which card")
    parser.add_argument("--amp_level", choices=("O0", "O2", "O3", "auto"), default="O0", help="mixed precision")
    parser.add_argument("--batch_size", "--per_batch_size", type=int, default=32, help="pictures per step")
    parser.add_argument("--out", help="write the measurement here, as JSON")
    parser.add_argument("--confusion", metavar="CSV", help="write the whole confusion matrix here, as CSV")
    parser.add_argument("--results", help="write every picture's logits into this folder")
    parser.add_argument("--skip_corrupt", action="store_true", help="leave out pictures that cannot be decoded")
    parser.add_argument("--json", action="store_true", help="print the measurement as JSON")
    return parser


def _with_pictures(model: TrainedModel, data_dir, files=None) -> tuple[TrainedModel, Pictures]:
    """`model` with the labels that its pictures in `data_dir` are counted by, and those pictures, or those of them that
    the list `files` names."""
    if model.num_classes is None:
        raise CheckpointError(expected="a network with a classifier", found="features only", where=model.checkpoint)
    pictures = list_pictures(evaluation_part(data_dir), model.labels or None, model.num_classes)
    if len(pictures.labels) != model.num_classes:
        raise DataError(
            expected=f"{model.num_classes} class names, as many as the checkpoint has",
            found=len(pictures.labels),
            where=data_dir,
            do="Give the label list of the training run with --labels FILE.",
        )
    labels = pictures.labels
    pictures = listed(pictures, files) if files else unseen(pictures, model.folder)
    return dataclasses.replace(model, labels=labels, labels_sha256=labels_digest(labels)), pictures


def parse(argv: list[str]):
    """The flags of `glorext eval`, checked.

    Raises:
        UsageError: no model or two, or an impossible batch size.
    """
    arguments = make_parser().parse_args(argv)
    if (arguments.what is None) == (arguments.pretrained is None):
        raise UsageError(expected="one model: MODEL or --pretrained MODEL", found="none or two")
    if arguments.batch_size < 1:
        raise UsageError(expected="--batch_size of at least 1", found=arguments.batch_size)
    return arguments


def main(argv: list[str]) -> int:
    """`glorext eval` and `python -m glorext.train.evaluate`."""
    arguments = parse(argv)
    model = open_model(arguments.what or arguments.pretrained, arguments.registry, arguments.network, arguments.labels)
    if arguments.recipe:
        recipe = load_recipe(arguments.recipe, **({"network": arguments.network} if arguments.network else {}))
        model = dataclasses.replace(
            model, network=recipe.network, network_args=recipe.network_args, input_spec=recipe.input_spec()
        )
    device, group = join_group(arguments.device_target, arguments.device_id)
    model, pictures = _with_pictures(model, arguments.data_dir, arguments.files)
    result, results = evaluate(
        model.create(),
        model,
        pictures,
        device,
        arguments.amp_level,
        arguments.batch_size,
        skip_corrupt=arguments.skip_corrupt,
        group=group,
    )
    if not group.is_writer:
        return 0
    if arguments.json:
        print(json_bytes(dataclasses.asdict(result)).decode(), end="", flush=True)
    else:
        print(f"{model.network} on {result.count} pictures of {pictures.folder}, {results.seconds:.1f} s")
        print(f"{accuracy_lines(result)}\n{{'Accuracy': {result.top1}}}\n{class_lines(result)}", flush=True)
    if arguments.out:
        result.write(arguments.out)
    if arguments.confusion:
        _write_confusion(arguments.confusion, results, pictures.labels)
    if arguments.results:
        write_results(arguments.results, results)
    return 0


if __name__ == "__main__":
    from glorext.runtime.cli import main as command

    sys.exit(command(["eval", *sys.argv[1:]], owns=True))
