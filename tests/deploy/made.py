"""Models for tests that need a record of one without a run or package."""

from pathlib import Path

from glorext.models import InputSpec
from glorext.models.labels import labels_digest
from glorext.models.trained import Identity, TrainedModel


def identity(name="m", network="resnext50", num_classes=10, labels=(), weights_sha256="0" * 64, **changes) -> Identity:
    """The record of a model; its network's arguments are the registered ones unless they are given."""
    values = {
        "version": None,
        "network_args": {},
        "input_spec": InputSpec(),
        "labels_sha256": labels_digest(labels),
        "license": None,
    }
    return Identity(name, network=network, num_classes=num_classes, weights_sha256=weights_sha256, **(values | changes))


def trained(checkpoint, labels=(), evidence=None, folder=None, **changes) -> TrainedModel:
    """A model at hand, with the record that `identity` makes."""
    own = {"checkpoint": Path(checkpoint), "labels": tuple(labels), "evidence": evidence, "folder": folder}
    return TrainedModel(**vars(identity(labels=labels, **changes)), **own)


ARTIFACT = {"file": "m", "sha256": "b" * 64, "output": "logits", "weights_dtype": "float32"}
