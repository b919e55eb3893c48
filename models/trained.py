"""What a model is: one record in a run, a package and a deployed model, written and read here; and one at hand."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from glorext.runtime.errors import DataError, GlorextError, UsageError
from glorext.runtime.fields import Fields, kind_of, shown
from glorext.runtime.files import write_json

from .evaluation import EvalResult
from .input_spec import InputSpec

RUN, RUN_SCHEMA = "model.json", "glorext.run/1"
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Identity:
    """What a model is, whatever file it stands in.

    Attributes:
        name: what it is called; its exported files are called so.
        version: of the package; None before it has one.
        network: a name of `models.names()`.
        network_args: arguments of the network's class that differ from the registered ones, without `num_classes`.
        num_classes: number of logits; None for a network without a classifier.
        input_spec: how a picture becomes the input.
        labels_sha256: digest of the label list (`labels.labels_digest`), that of no labels where they are unknown.
        weights_sha256: digest of the tensors (`weights_digest`), whatever file and naming they are in. Empty
            until it is computed: of a published checkpoint not read yet, of a run's changing weights; never in a file.
        license: of the weights, as an SPDX name; None where nobody has said.
    """

    name: str
    version: str | None
    network: str
    network_args: dict[str, Any]
    num_classes: int | None
    input_spec: InputSpec
    labels_sha256: str
    weights_sha256: str
    license: str | None

    def __post_init__(self):
        # As JSON has them, so that a record read back equals the one that was written.
        object.__setattr__(self, "network_args", {key: _lists(value) for key, value in self.network_args.items()})

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments for `models.create`."""
        if self.num_classes is None:
            return {**self.network_args, "include_top": False}
        return {**self.network_args, "num_classes": self.num_classes}

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, every key present."""
        values = {item.name: getattr(self, item.name) for item in fields(Identity)}
        return values | {"input_spec": self.input_spec.to_dict()}

    def identity(self) -> Identity:
        """This record alone, without what a subclass adds."""
        return Identity(**{item.name: getattr(self, item.name) for item in fields(Identity)})

    @staticmethod
    def read(found: Fields) -> Identity:
        """The record that `to_dict` gave; the error of `found` names a key that is missing, unknown or impossible."""
        values: dict[str, Any] = {
            "name": found.take("name", str),
            "version": found.take("version", str, optional=True),
            "network": found.take("network", str),
            "network_args": _plain_arguments(found),
            "num_classes": found.take("num_classes", int, optional=True),
            "input_spec": read_input_spec(found.inner("input_spec")),
            "labels_sha256": found.digest("labels_sha256"),
            "weights_sha256": found.digest("weights_sha256"),
            "license": found.take("license", str, optional=True),
        }
        found.done()
        return Identity(**values)

    def difference(self, other: Identity) -> str | None:
        """In what `other` is another model, as a phrase with both values; None when it is the same, whatever its name.

        What decides answers is compared: weights, network, preprocessing and labels.
        """
        for what, mine, theirs in (
            ("weights", f"{self.weights_sha256[:16]}...", f"{other.weights_sha256[:16]}..."),
            ("network", self.network, other.network),
            ("arguments", _json(self.arguments), _json(other.arguments)),
            ("input spec", *_apart(self.input_spec.to_dict(), other.input_spec.to_dict())),
            ("labels", f"sha256 {self.labels_sha256[:16]}...", f"sha256 {other.labels_sha256[:16]}..."),
        ):
            if mine != theirs:
                return f"another {what}: {theirs} instead of {mine}"
        return None

    def check_evidence(self, evidence: EvalResult, where, error: type[GlorextError] = DataError) -> None:
        """Raise `error` unless `evidence` was measured with exactly these weights, this preprocessing, these labels."""
        for key, wanted in (
            ("network", self.network),
            ("weights_sha256", self.weights_sha256),
            ("preprocessing_sha256", self.input_spec.digest()),
            ("labels_sha256", self.labels_sha256),
        ):
            if getattr(evidence, key) != wanted:
                raise error(
                    expected=f"{key} {wanted}",
                    found=getattr(evidence, key),
                    where=where,
                    do="This accuracy belongs to something else: evaluate these weights with `glorext eval`.",
                )
        if evidence.confusion is not None and len(evidence.confusion) != self.num_classes:
            raise error(
                expected=f"a row for each of {self.num_classes} classes",
                found=len(evidence.confusion),
                where=f"{where}: confusion",
            )


def _lists(value):
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _json(value) -> str:
    return json.dumps(value, sort_keys=True)


def _apart(mine: dict, theirs: dict) -> tuple[str, str]:
    keys = [key for key in mine if mine[key] != theirs[key]]
    ours, others = (", ".join(f"{key} {values[key]}" for key in keys) for values in (mine, theirs))
    return ours, others


def _plain_arguments(found: Fields) -> dict:
    def plain(item, key, depth=0):
        if type(item) is list and depth < 2:
            return [plain(part, key, depth + 1) for part in item]
        if type(item) not in (str, int, bool, type(None)):
            raise found.wrong("plain numbers, strings or lists of them", kind_of(item), f"network_args.{key}")
        return item

    values = found.take("network_args", dict)
    for key in values:
        if not key.isidentifier() or key.startswith("_") or key == "num_classes":
            raise found.wrong(
                "names of constructor arguments (num_classes has its own key)", shown(key), "network_args"
            )
    return {key: plain(item, key) for key, item in values.items()}


def check_network(identity: Identity, found: Fields) -> None:
    """Raise the error of `found` for a network that this glorext does not have, or cannot make with these arguments."""
    from .arguments import check_arguments
    from .specs import names, spec

    if identity.network not in names():
        raise found.wrong(f"a network out of {', '.join(names())}", shown(identity.network), "network")
    try:
        check_arguments(spec(identity.network), identity.arguments)
    except UsageError as error:
        raise found.wrong(error.expected, error.found, "network_args") from error


def read_input_spec(found: Fields) -> InputSpec:
    """The InputSpec under a key, every part of it present; impossible values are the error of `found`."""
    values = found.rest()
    missing = [key for key in InputSpec().to_dict() if key not in values]
    if missing:
        raise found.wrong("every key of an input spec", f"none for {', '.join(missing)}")
    try:
        return InputSpec.from_dict(values)
    except (UsageError, OverflowError) as error:
        raise found.wrong(
            getattr(error, "expected", "an input spec"), str(getattr(error, "found", error))[:200]
        ) from error


@dataclass(frozen=True)
class TrainedModel(Identity):
    """A model at hand: what it is, where its weights are, and what was measured with them.

    Attributes:
        checkpoint: the weights' file.
        labels: class names in the order of the logits; empty when unknown.
        evidence: the accuracy that its run or package claims, with its digests, or None.
        folder: the run or package it comes from, with metrics.jsonl; None for a bare checkpoint.
        source: where it was found: a path, the location of a registry, or "built in".
        summary: one line that its publisher wrote.
        manifest_sha256: digest of its package; None where there is none.
    """

    checkpoint: Path
    labels: tuple[str, ...] = ()
    evidence: EvalResult | None = None
    folder: Path | None = None
    source: str = ""
    summary: str = ""
    manifest_sha256: str | None = None

    def create(self, pretrained: bool = True, **overrides):
        """The network in evaluation mode, an `nn.Cell`, with these weights unless `pretrained` is false.

        Args:
            overrides: arguments of `models.create`, before the model's own.
        """
        from .specs import create

        arguments = {**self.arguments, **overrides}
        return create(self.network, checkpoint=self.checkpoint if pretrained else None, **arguments).set_train(False)


def write_run(folder, identity: Identity, started_from: Identity | None) -> None:
    """Write into a run's folder what its best checkpoint is, and which model it started from (None: random weights)."""
    source = None if started_from is None else started_from.to_dict()
    # no file's time tells the day: a copy of the run may be of another
    date = time.strftime("%Y-%m-%d", time.gmtime())
    write_json(
        Path(folder) / RUN, {"schema": RUN_SCHEMA, "date": date, "model": identity.to_dict(), "started_from": source}
    )


def run_date(folder) -> str:
    """The day (UTC, YYYY-MM-DD) on which the best checkpoint of a run was written; raises as `read_run` does."""
    return Fields.read(Path(folder) / RUN, RUN_SCHEMA).matching("date", DATE, "a date of the form 2026-01-31")


def read_run(folder) -> tuple[Identity, Identity | None]:
    """What `write_run` wrote.

    Raises:
        DataError: no such file, or another one; the message names the key.
    """
    top = Fields.read(Path(folder) / RUN, RUN_SCHEMA, do="`glorext train` writes it.")
    model, source = top.inner("model"), top.inner("started_from", optional=True)
    top.matching("date", DATE, "a date of the form 2026-01-31")
    top.done()
    identity = Identity.read(model)
    check_network(identity, model)
    return identity, Identity.read(source) if source else None
