"""`glorext lint`: what a checkpoint holds, and what is wrong with it, before anybody trains or publishes from it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from glorext.models.identify import network_arguments, network_name
from glorext.runtime.errors import DataError
from glorext.runtime.files import sha256_file

from .checkpoint import Checkpoint, compare, read_checkpoint, weights_digest
from .specs import SPECS

SHOWN = 3
LARGEST_VARIANCE = 1e6
# Batch norms whose output goes straight into a ReLU, and those that end a block's branch before the sum.
BEFORE_RELU = {
    "resnext": r"backbone\.(bn|layer\d\.\d+\.bn[12])",
    "glore": r"(conv1\.bn\d|bn1|layer\d\.\d+\.(bn[12]|conv_(state|proj|extend)\.0))",
    "glore_v2": r".+",
}
BEFORE_SUM = {"resnext": r"backbone\.layer\d\.\d+\.bn3", "glore": r"layer\d\.\d+\.bn3", "glore_v2": r"(?!)"}
UNIT_END = ".conv_extend.2.weight"


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
        labels: a text file with one class per line, to compare with the classifier.

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
        *_units(checkpoint),
        *_classifier(checkpoint, labels),
        *_state(checkpoint),
    ]
    trained = (array.size for key, array in checkpoint.weights.items() if ".moving_" not in key)
    return {
        "file": str(source),
        "sha256": sha256_file(source),
        "naming": checkpoint.naming.name,
        "family": checkpoint.naming.family,
        "network": name,
        "arguments": arguments,
        "parameters": int(sum(trained)),
        "num_classes": checkpoint.num_classes,
        "stem_pool": checkpoint.naming.stem_pool,
        "weights_sha256": weights_digest(checkpoint),
        "findings": [asdict(finding) | {"tensors": list(finding.tensors)} for finding in findings],
    }


def _completeness(checkpoint: Checkpoint, arguments):
    from mindspore.nn.utils import no_init_parameters

    model = next(spec for spec in SPECS.values() if spec.family == checkpoint.naming.family)
    try:
        with no_init_parameters():
            net = model.constructor(**arguments)
    except ValueError as error:
        yield Finding("error", f"no such network can be built: {str(error).splitlines()[0]}")
        return
    wanted = {parameter.name: tuple(parameter.shape) for parameter in net.get_parameters()}
    for title, found in compare(wanted, checkpoint.weights).items():
        if found:
            yield Finding("error", f"{len(found)} tensors {title}", tuple(found))


def _values(checkpoint: Checkpoint):
    bad = tuple(
        name for name, array in checkpoint.weights.items() if array.dtype.kind == "f" and not np.isfinite(array).all()
    )
    if bad:
        yield Finding("error", f"NaN or infinite values in {len(bad)} tensors", bad)
    kinds = sorted({array.dtype.name for array in checkpoint.weights.values()} - {"float32"})
    if kinds:
        yield Finding("note", f"stored as {', '.join(kinds)}; a network computes in float32")


def _norms(checkpoint: Checkpoint):
    weights, family = checkpoint.weights, checkpoint.naming.family
    variances = {name: array for name, array in weights.items() if name.endswith("moving_variance")}
    negative = tuple(name for name, array in variances.items() if (array < 0).any())
    if negative:
        yield Finding("error", f"negative variance in {len(negative)} batch norms", negative)
    large = tuple(name for name, array in variances.items() if (array > LARGEST_VARIANCE).any())
    if large:
        yield Finding("warning", f"variance above {LARGEST_VARIANCE:g} in {len(large)} batch norms", large)
    fresh = tuple(
        name
        for name, array in variances.items()
        if (array == 1).all() and not weights.get(name.replace("variance", "mean"), np.ones(1)).any()
    )
    if fresh:
        yield Finding("warning", f"running statistics never updated in {len(fresh)} batch norms", fresh)
    zero = [
        name.removesuffix(".gamma") for name, array in weights.items() if name.endswith(".gamma") and not array.any()
    ]
    dead = tuple(
        name
        for name in zero
        if re.fullmatch(BEFORE_RELU[family], name) and (weights.get(f"{name}.beta", np.zeros(1)) <= 0).all()
    )
    if dead:
        yield Finding(
            "warning",
            f"{len(dead)} branches that were never trained and never will be: gamma is all zero "
            "before a ReLU, no gradient passes",
            dead,
        )
    idle = tuple(name for name in zero if re.fullmatch(BEFORE_SUM[family], name))
    if idle:
        yield Finding(
            "warning", f"{len(idle)} blocks that add nothing: the last gamma is all zero, as in a fresh network", idle
        )


def _units(checkpoint: Checkpoint):
    idle = tuple(
        name.removesuffix(UNIT_END)
        for name, array in checkpoint.weights.items()
        if name.endswith(UNIT_END) and not array.any()
    )
    if idle:
        yield Finding("warning", f"{len(idle)} GloRe units that are the identity, as in a fresh network", idle)


def _classifier(checkpoint: Checkpoint, labels):
    if checkpoint.num_classes is None:
        yield Finding("note", "no classifier: features only")
    if labels is None:
        return
    try:
        count = len(Path(labels).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(expected="a text file with one class per line", found=str(error), where=labels) from error
    if count != checkpoint.num_classes:
        yield Finding(
            "error", f"{count} labels in {labels}, {checkpoint.num_classes or 'no'} classes in the classifier"
        )


def _state(checkpoint: Checkpoint):
    if checkpoint.state:
        size = sum(array.nbytes for array in checkpoint.state.values())
        yield Finding(
            "note",
            f"{len(checkpoint.state)} tensors of the training run ({size / 1e6:.1f} MB), not needed to use the network",
            tuple(checkpoint.state),
        )


def _table(report: dict) -> str:
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
        rows.append(("fine", "nothing to remark"))
    return "\n".join(f"{title:<11} {text}" for title, text in rows)


def _some(names) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f": {', '.join(names[:SHOWN])}{more}" if names else ""


def main(argv: list[str]) -> int:
    """The command; status 1 when an error was found."""
    from glorext.runtime.cli import parser

    arguments = parser(
        "lint",
        "Tell which network a checkpoint holds, and what is wrong with it.",
        "glorext lint resnext50.ckpt --labels labels.txt",
    )
    arguments.add_argument("checkpoint", help=".ckpt, .safetensors or .pth file")
    arguments.add_argument("--labels", metavar="FILE", help="text file with one class per line")
    arguments.add_argument("--json", action="store_true", help="print the report as JSON")
    given = arguments.parse_args(argv)
    report = lint(given.checkpoint, given.labels)
    print(json.dumps(report, indent=2) if given.json else _table(report))
    return int(any(finding["level"] == "error" for finding in report["findings"]))
