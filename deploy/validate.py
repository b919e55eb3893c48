"""Checks the accuracy of offline inference: against the labels, and picture by picture against MindSpore."""
from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from glorext.runtime import AccuracyError, DataError, get_logger, version, write_json
from glorext.train.data import list_pictures
from glorext.train.evaluate import evaluate
from glorext.train.labels import labels_digest
from glorext.train.results import Results, read_results

from .source import Source, add_source_arguments, chosen_source

logger = get_logger("deploy")
# Two float32 implementations of one network move logits of order 1 to 10 by less than this.
MAX_DIFFERENCE = 1e-3
# One picture in 360 may sit so close to the border of two classes that rounding decides.
MIN_AGREEMENT = 359 / 360
# Accuracy may not fall further than this below what the package claims.
MAX_DROP = 0.005


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over `count` pictures, with the 95 % Wilson interval of top-1 (Wilson 1927, as fractions)."""

    count: int
    top1: float
    top5: float
    low: float
    high: float


@dataclass(frozen=True)
class Check:
    """One line of the verdict: what was demanded, what was found, whether it holds."""

    name: str
    demanded: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        name: the model's name.
        reference: accuracy of MindSpore on the same pictures.
        measured: accuracy of the offline results.
        agreement: pictures with the same top-1 in both.
        max_difference: largest absolute difference of two logits.
        mean_difference: mean absolute difference.
        cosine: smallest cosine between the two logit vectors of a picture.
        flips: paths whose top-1 differs.
        checks: the verdict, line by line.
        environment: versions, device and digests.
    """

    name: str
    reference: Accuracy
    measured: Accuracy
    agreement: int
    max_difference: float
    mean_difference: float
    cosine: float
    flips: tuple[str, ...]
    checks: tuple[Check, ...]
    environment: dict

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of `hits` out of `count` (Wilson 1927), as two fractions."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def paths_of(results: Results) -> list[str]:
    """The pictures' paths in the order of the logits."""
    return [picture["path"] for picture in results.pictures]


def truths(paths: list[str], labels: tuple[str, ...]) -> np.ndarray:
    """Class indices (N,) of pictures named <class>/<file>, by the model's own label list.

    Raises:
        DataError: a picture outside a class folder, or a class that the model does not know.
    """
    if not labels:
        raise DataError("the model's label list is unknown, so accuracy cannot be measured",
                        do="Validate a package or a training run instead of a bare checkpoint.")
    index = {label: number for number, label in enumerate(labels)}
    unknown = sorted({path for path in paths if path.split("/")[0] not in index or "/" not in path})
    if unknown:
        raise DataError(expected=f"pictures in class folders out of {', '.join(labels[:5])}, ...",
                        found=f"{len(unknown)} others, the first {unknown[0]!r}",
                        do="Give the folder that holds one folder for each class.")
    return np.array([index[path.split("/")[0]] for path in paths])


def accuracy(logits: np.ndarray, classes: np.ndarray) -> Accuracy:
    """Top-1 and top-5 of logits (N, K) against class indices (N,); ties count for the lower index, as argmax does."""
    own = logits[np.arange(len(classes)), classes][:, None]
    lower = np.arange(logits.shape[1])[None] < classes[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(1)
    hits = int((rank == 0).sum())
    return Accuracy(len(classes), hits / len(classes), float((rank < 5).mean()), *wilson(hits, len(classes)))


def accuracy_line(results: Results, labels: tuple[str, ...]) -> str:
    """Accuracy of results against the class folders, as the published postprocessing prints it."""
    found = accuracy(results.logits, truths(paths_of(results), labels))
    return f"Total data: {found.count}, top1 accuracy: {found.top1:.6g}, top5 accuracy: {found.top5:.6g}."


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) of logits (N, K)."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def compare(source: Source, results: Results, reference: Results, min_top1: float | None = None) -> Validation:
    """Hold offline `results` against the labels, against MindSpore's `reference`, and against the package's claim.

    Raises:
        DataError: the two do not cover the same pictures, or pictures are missing.
        AccuracyError: they come from other weights than `source`.
    """
    if results.failed:
        first = results.failed[0]
        raise DataError(f"{len(results.failed)} pictures were not scored, the first {first['path']}: "
                        f"{first['error']}", do="Mend or remove them; accuracy counts every picture exactly once.")
    paths = paths_of(results)
    if paths != paths_of(reference):
        odd = sorted(set(paths) ^ set(paths_of(reference)))
        raise DataError(expected="the same pictures in both results",
                        found=f"{len(odd)} in only one of them" + (f", the first {odd[0]}" if odd else ""),
                        do="Run both over the same folder.")
    for which in (results, reference):
        weights = which.model.get("weights_sha256")
        if weights != source.weights_sha256:
            raise AccuracyError(expected=f"results of the weights {source.weights_sha256[:16]}...",
                                found=f"{str(weights)[:16]}... in the {which.backend} results",
                                do="Run the inference again with this package's model.")
    if results.model.get("output") == "probabilities":
        reference = replace(reference, logits=softmax(reference.logits))
    classes = truths(paths, source.labels)
    difference = np.abs(results.logits - reference.logits)
    same = results.logits.argmax(1) == reference.logits.argmax(1)
    norms = np.linalg.norm(results.logits, axis=1) * np.linalg.norm(reference.logits, axis=1)
    cosine = (results.logits * reference.logits).sum(1) / np.maximum(norms, 1e-30)
    measured, expected = accuracy(results.logits, classes), accuracy(reference.logits, classes)
    numbers = dict(agreement=int(same.sum()), max_difference=float(difference.max()),
                   mean_difference=float(difference.mean()), cosine=float(cosine.min()))
    environment = {"glorext": version(), "weights_sha256": source.weights_sha256,
                   "labels_sha256": labels_digest(source.labels),
                   **{f"{which.backend}_versions": which.versions for which in (reference, results)},
                   "device": results.device, "model": results.model}
    return Validation(
        source.name, expected, measured, **numbers,
        flips=tuple(path for path, kept in zip(paths, same) if not kept),
        checks=tuple(_checks(source, measured, numbers, min_top1)), environment=environment)


def _checks(source: Source, measured: Accuracy, numbers: dict, min_top1: float | None):
    least = math.floor(measured.count * MIN_AGREEMENT)
    yield Check("same top-1 as MindSpore", f"at least {least} of {measured.count}",
                f"{numbers['agreement']} of {measured.count}", numbers["agreement"] >= least)
    yield Check("logits against MindSpore", f"at most {MAX_DIFFERENCE:g} apart", f"{numbers['max_difference']:.2e}",
                numbers["max_difference"] <= MAX_DIFFERENCE)
    if source.top1 is not None:
        yield Check("top-1 against the package's evidence", f"at least {source.top1 - MAX_DROP:.2%}",
                    f"{measured.top1:.2%}", measured.top1 >= source.top1 - MAX_DROP)
    if min_top1 is not None:
        yield Check("top-1 against the wanted value", f"at least {min_top1:.2%}", f"{measured.top1:.2%}",
                    measured.top1 >= min_top1)


def reference_results(source: Source, data: Path) -> Results:
    """MindSpore's own logits for every picture below `data`, by the evaluation that writes eval.json."""
    pictures = list_pictures(data, source.labels)
    return evaluate(source.create(), pictures, source.input_spec, source.checkpoint, source.network, "CPU")[1]


def offline_results(source: Source, data: Path, out: Path) -> Results:
    """Export, convert and run `source` over `data` with the C++ program, in one go; for when no results are at hand."""
    from .convert import convert
    from .export import export
    from .infer import infer
    with tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
        model, = export(source, Path(scratch), ["mindir"])
        converted, = convert(Path(scratch) / model.file, Path(scratch), ["mindir"])
        return infer(Path(scratch) / converted.file, data, out)


def main(argv: list[str]) -> int:
    """`glorext validate`."""
    from glorext.runtime import set_device
    from glorext.runtime.cli import parser
    arguments = parser("validate", "Check offline inference against the labels and, picture by picture, MindSpore.",
                       "glorext validate resnext50-digits --data val/ --results results/ --report report.html")
    add_source_arguments(arguments)
    arguments.add_argument("--data", required=True, type=Path, help="folder with one folder of pictures for each class")
    arguments.add_argument("--results", type=Path, help="what `glorext infer` wrote; without it, it is run now")
    arguments.add_argument("--reference", type=Path, help="what `glorext eval --results` wrote; without it, it is run now")
    arguments.add_argument("--min_top1", type=float, help="demand this top-1 (a fraction) as well")
    arguments.add_argument("--out", type=Path, help="write the validation as JSON to this file")
    arguments.add_argument("--report", type=Path, help="write an HTML report to this file")
    arguments.add_argument("--json", action="store_true", help="print the validation as JSON")
    options = arguments.parse_args(argv)
    source = chosen_source(options)
    if options.reference is None or options.results is None:
        set_device("CPU")
    reference = read_results(options.reference) if options.reference else reference_results(source, options.data)
    with tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
        results = read_results(options.results) if options.results else \
            offline_results(source, options.data, Path(scratch) / "results")
    validation = compare(source, results, reference, options.min_top1)
    if options.out:
        write_json(options.out, asdict(validation))
    if options.report:
        from .report import write_report
        write_report(options.report, validation, source, results, reference, options.data)
    _show(validation, results, source.labels, options.json)
    if not validation.passed:
        raise AccuracyError("; ".join(f"{check.name}: expected {check.demanded}, found {check.found}"
                                      for check in validation.checks if not check.passed),
                            do="Look at the report; do not deploy this model.")
    return 0


def _show(validation: Validation, results: Results, labels: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(validation)))
        return
    measured = validation.measured
    print(accuracy_line(results, labels))
    print(f"MindSpore {validation.reference.top1:.2%}, offline {measured.top1:.2%} "
          f"(95 % interval {measured.low:.2%} to {measured.high:.2%})")
    for check in validation.checks:
        print(f"  {'pass' if check.passed else 'FAIL'}  {check.name}: {check.found} (demanded: {check.demanded})")
