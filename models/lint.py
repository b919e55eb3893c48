"""`glorext lint`: what a checkpoint holds, and what is wrong with it, before anybody trains or publishes from it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

import numpy as np

from glorext.runtime.files import sha256_file

from .checkpoint import Checkpoint, compare, read_checkpoint, weights_digest
from .identify import network_arguments, network_name
from .labels import read_labels

SHOWN = 3
LARGEST_VARIANCE = 1e6


@dataclass(frozen=True)
class Finding:
    """`level`: "error" (not usable as it is), "warning" (look at it) or "note"; `tensors`: the names concerned."""

    level: str
    what: str
    tensors: tuple[str, ...] = ()


def lint(source, labels=None) -> dict:
    """Look through a checkpoint.

    Args:
        source: a checkpoint file.
        labels: class names, or a text file with one per line, to compare with the classifier.

    Returns:
        JSON values: file, sha256, naming, family, network (None for a variant), arguments, parameters, num_classes,
        stem_pool, weights_sha256, and findings, each with level, what and tensors.

    Raises:
        CheckpointError: unreadable, or of no known naming.
        DataError: the label list cannot be read.
    """
    checkpoint = read_checkpoint(source)
    arguments, name = network_arguments(checkpoint), network_name(checkpoint)
    findings = [
        *_completeness(checkpoint, arguments),
        *_values(checkpoint),
        *_norms(checkpoint),
        *_idle(checkpoint),
        *_classifier(checkpoint, labels),
        *_state(checkpoint),
    ]
    trained = (array.size for key, array in checkpoint.weights.items() if ".moving_" not in key)
    return {
        "file": str(source),
        "sha256": sha256_file(source),
        "naming": checkpoint.naming.name,
        "family": checkpoint.family.name,
        "network": name,
        "arguments": arguments,
        "parameters": int(sum(trained)),
        "num_classes": checkpoint.num_classes,
        "stem_pool": checkpoint.naming.stem_pool if "stem_pool" in checkpoint.family.arguments else None,
        "weights_sha256": weights_digest(checkpoint),
        "findings": [asdict(finding) | {"tensors": list(finding.tensors)} for finding in findings],
    }


def _completeness(checkpoint: Checkpoint, arguments):
    from mindspore.nn.utils import no_init_parameters

    try:
        with no_init_parameters():
            net = checkpoint.family.constructor(**arguments)
    except ValueError as error:
        yield Finding("error", f"no such network can be built: {str(error).splitlines()[0]}")
        return
    wanted = {parameter.name: tuple(parameter.shape) for parameter in net.get_parameters()}
    for title, found in compare(wanted, checkpoint.weights).items():
        yield from _found("error", f"{{}} tensors {title}", found)


def _found(level: str, what: str, tensors):
    """A finding if there are such tensors; `what` says how many."""
    tensors = tuple(tensors)
    if tensors:
        yield Finding(level, what.format(len(tensors)), tensors)


def _values(checkpoint: Checkpoint):
    weights = checkpoint.weights.items()
    bad = (name for name, array in weights if array.dtype.kind == "f" and not np.isfinite(array).all())
    yield from _found("error", "NaN or infinite values in {} tensors", bad)
    kinds = sorted({array.dtype.name for _, array in weights} - {"float32"})
    if kinds:
        yield Finding("note", f"stored as {', '.join(kinds)}; a network computes in float32")


def _norms(checkpoint: Checkpoint):
    weights = checkpoint.weights
    variances = {name: array for name, array in weights.items() if name.endswith("moving_variance")}
    negative = (name for name, array in variances.items() if (array < 0).any())
    yield from _found("error", "negative variance in {} batch norms", negative)
    large = (name for name, array in variances.items() if (array > LARGEST_VARIANCE).any())
    yield from _found("warning", f"variance above {LARGEST_VARIANCE:g} in {{}} batch norms", large)
    fresh = (
        name
        for name, array in variances.items()
        if (array == 1).all() and not weights.get(name.replace("variance", "mean"), np.ones(1)).any()
    )
    yield from _found("warning", "running statistics never updated in {} batch norms", fresh)
    dead = (
        name
        for name in (key.removesuffix(".gamma") for key in weights if key.endswith(".gamma"))
        if re.fullmatch(checkpoint.family.before_relu, name)
        and not weights[f"{name}.gamma"].any()
        and (weights.get(f"{name}.beta", np.zeros(1)) <= 0).all()
    )
    what = "{} branches that were never trained and never will be: gamma is all zero before a ReLU, no gradient passes"
    yield from _found("warning", what, dead)


def _idle(checkpoint: Checkpoint):
    for pattern, parts in checkpoint.family.idle_while_zero.items():
        matches = ((re.fullmatch(pattern, name), array) for name, array in checkpoint.weights.items())
        idle = (match[1] for match, array in matches if match and not array.any())
        yield from _found("warning", f"{{}} {parts}", idle)


def _classifier(checkpoint: Checkpoint, labels):
    if checkpoint.num_classes is None:
        yield Finding("note", "no classifier: features only")
    if labels is None:
        return
    count = len(labels if isinstance(labels, tuple) else read_labels(labels))
    if count != checkpoint.num_classes:
        yield Finding("error", f"{count} labels, {checkpoint.num_classes or 'no'} classes in the classifier")


def _state(checkpoint: Checkpoint):
    size = sum(array.nbytes for array in checkpoint.state.values()) / 1e6
    what = f"{{}} tensors of the training run ({size:.1f} MB), not needed to use the network"
    yield from _found("note", what, checkpoint.state)


def table(report: dict) -> str:
    name = report["network"] or f"a variant of {report['family']}"
    arguments = ", ".join(f"{key}={value}" for key, value in report["arguments"].items())
    rows = [
        ("file", report["file"]),
        ("network", name),
        ("arguments", arguments),
        ("naming", report["naming"]),
        ("classes", report["num_classes"]),
        ("parameters", f"{report['parameters']:,}"),
        ("weights", report["weights_sha256"]),
    ]
    rows += [(finding["level"], finding["what"] + _some(finding["tensors"])) for finding in report["findings"]]
    if not report["findings"]:
        rows.append(("fine", "no findings"))
    return "\n".join(f"{title:<11} {text}" for title, text in rows)


def _some(names) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f": {', '.join(names[:SHOWN])}{more}" if names else ""
