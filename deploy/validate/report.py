"""One static HTML page for a validation, and the same numbers as report.json beside it."""

from __future__ import annotations

import base64
import io
import os
import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np

from glorext.deploy.parity.measure import Parity
from glorext.deploy.validate import plots
from glorext.deploy.validate.accuracy import paths_of, truths
from glorext.deploy.validate.verdict import Validation
from glorext.models.answers import Results
from glorext.models.calibration import calibration, confidences
from glorext.models.per_class import (
    MOST_PAIRS,
    ClassScore,
    Confused,
    class_scores,
    confusion_matrix,
    mean_of,
    most_confused,
)
from glorext.models.trained import TrainedModel
from glorext.runtime import UsageError, atomic_path, write_json
from glorext.train.pictures import Pictures

SCHEMA = "glorext.report/1"
MISTAKES_SHOWN, CLASSES_SHOWN, FLIPS_LISTED = 24, 10, 1000
# Smaller files are shown as they are, larger ones as a thumbnail: 24 photographs would make the page many megabytes.
THUMBNAIL, SMALL_FILE = 240, 16_000


def confusion(results: Results, labels: tuple[str, ...]) -> np.ndarray:
    """Counts (K, K): rows are the true classes, columns the answers."""
    return confusion_matrix(truths(paths_of(results), labels), results.logits.argmax(1), len(labels))


def worst_classes(scores: list[ClassScore], pairs: list[Confused]) -> list[dict]:
    """Classes with the lowest recall, those with mistakes only, and what each is most often taken for.

    Args:
        pairs: all kinds of mistakes, the most frequent first.
    """
    taken_for = {pair.truth: pair for pair in reversed(pairs)}
    wrong = sorted(
        (score for score in scores if score.right < score.count), key=lambda one: (one.right / one.count, -one.count)
    )
    return [
        vars(score) | {"taken_for": taken_for[score.label].answer, "times": taken_for[score.label].times}
        for score in wrong[:CLASSES_SHOWN]
    ]


def mistakes(source: TrainedModel, results: Results, reference: Results | None) -> list[dict]:
    """Pictures to look at: first those on which MindSpore differs, then the wrong ones, the most confident first.

    Each kind gets half of the places, and those that the other leaves. `margin` is the lead of the best logit over that
    of the true class.
    """
    paths = paths_of(results)
    classes, answers = truths(paths, source.labels), results.logits.argmax(1)
    others = answers if reference is None else reference.logits.argmax(1)
    margin = results.logits.max(1) - results.logits[np.arange(len(classes)), classes]
    order = np.argsort(-margin, kind="stable")
    flips = [int(index) for index in order if answers[index] != others[index]]
    wrong = [int(index) for index in order if answers[index] == others[index] != classes[index]]
    half = MISTAKES_SHOWN // 2
    flips = flips[: max(half, MISTAKES_SHOWN - len(wrong))]
    chosen = flips + wrong[: MISTAKES_SHOWN - len(flips)]
    return [
        {
            "path": paths[index],
            "truth": source.labels[classes[index]],
            "offline": source.labels[answers[index]],
            "mindspore": None if reference is None else source.labels[others[index]],
            "flip": bool(answers[index] != others[index]),
            "margin": float(margin[index]),
        }
        for index in chosen
    ]


def picture(path: Path) -> str:
    """A picture file as a data URL; one that is large is made smaller."""
    from PIL import Image

    data = path.read_bytes()
    kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
    if len(data) > SMALL_FILE:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=82)
        kind, data = "jpeg", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def machine() -> dict:
    """What this report was written on: system, processor, cores, Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def contents(
    validation: Validation, source: TrainedModel, results: Results, reference: Results | None, hops: Parity | None
) -> dict:
    """Everything that the page says, as JSON values."""
    classes, answers = truths(paths_of(results), source.labels), results.logits.argmax(1)
    scores = class_scores(classes, answers, source.labels)
    pairs = most_confused(classes, answers, source.labels, most=len(answers))
    # What comes out of a softmax is a confidence already.
    sure = results.logits.max(1) if results.artifact["output"] == "probabilities" else confidences(results.logits)
    counts, edges = plots.latency_counts(results)
    values = validation.to_dict()
    if validation.mindspore:
        flips = validation.mindspore.flips
        listed = list(flips[:FLIPS_LISTED])
        values["mindspore"] |= {"flips_listed": len(listed), "flips": listed, "flip_count": len(flips)}
    return {
        "schema": SCHEMA,
        "validation": values,
        "hops": None if hops is None else hops.to_dict(),
        "model": {"network": source.network, "size": source.input_spec.size, "classes": len(source.labels)},
        "speed": {
            "throughput": results.throughput,
            "seconds": results.seconds,
            "latency_ms": results.latency_ms,
            "stages_ms": results.stages_ms,
            "batch": results.batch,
            "workers": results.workers,
            "threads": results.threads,
            "histogram": {"counts": counts, "edges_ms": edges},
        },
        "wrong": int((answers != classes).sum()),
        "classes": [vars(score) for score in scores],
        "means": {measure: mean_of(scores, measure) for measure in ("recall", "f1")},
        "confused": [vars(pair) for pair in pairs[:MOST_PAIRS]],
        "calibration": asdict(calibration(sure, answers == classes)),
        "worst_classes": worst_classes(scores, pairs),
        "mistakes": mistakes(source, results, reference),
        "machine": machine(),
        "classes_seen": sum(score.count > 0 for score in scores),
    }


def environment():
    """Jinja2's environment of the pages in deploy/templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("glorext.deploy"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["percent"] = lambda value: f"{value:.2%}"
    found.filters["share"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    found.filters["small"] = lambda value: f"{value:.1e}" if value else "0"
    found.filters["number"] = lambda value: f"{value:,}"
    return found


def write_report(
    path: Path,
    validation: Validation,
    source: TrainedModel,
    results: Results,
    reference: Results | None = None,
    shown: Pictures | None = None,
    hops: Parity | None = None,
) -> None:
    """Write the page, which needs no other file and no network, and report.json: the same name, ending .json.

    Args:
        path: the HTML file.
        validation: what `validate` found for `results` and `reference`.
        source: the model, with its labels and training metrics.
        results: the backend's results.
        reference: MindSpore's results, if they were compared.
        shown: the pictures, of which mistakes are shown; without them they are named only.
        hops: what `parity` found, to be shown hop by hop.
    """
    path = Path(path)
    if path.suffix == ".json":
        raise UsageError(expected="the name of an HTML file", found=path.name, where="--report")
    numbers = contents(validation, source, results, reference, hops)
    files = {path: shown.file(index) for index, path in enumerate(shown.paths)} if shown else {}
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            v=validation,
            r=numbers,
            source=source,
            results=results,
            hops=hops,
            accuracy=plots.accuracy_plot(validation),
            latency=plots.latency_plot(results),
            confusion=plots.confusion_plot(confusion(results, source.labels), source.labels),
            reliability=plots.reliability_plot(numbers["calibration"]["bins"]),
            curves=plots.training_plots(source.folder / "metrics.jsonl") if source.folder else [],
            pictures=[picture(files[entry["path"]]) if shown else None for entry in numbers["mistakes"]],
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(path.with_suffix(".json"), numbers)
