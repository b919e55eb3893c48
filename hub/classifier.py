"""A model that is asked with pictures: it preprocesses as its package says and answers with names and probabilities."""

from __future__ import annotations

import itertools
import os

import numpy as np

from glorext.models.labels import SYNSETS, read_labels
from glorext.models.prediction import Prediction, predictions
from glorext.models.preprocess import preprocess
from glorext.models.trained import TrainedModel
from glorext.runtime import CheckpointError, DataError, UsageError
from glorext.runtime.device import set_device

from .builtin import LOCATION
from .find import FOR_LOADING
from .open_model import open_model

BATCH = 8


class Classifier:
    """A network with its weights, its labels and its preprocessing.

    Attributes:
        model: which model it is.
        network: the network in evaluation mode, an `nn.Cell`: (N, 3, H, W) to logits (N, K).
    """

    def __init__(self, model: TrainedModel):
        """Open the network of `model`. Raises CheckpointError where it has no classifier."""
        if model.num_classes is None:
            raise CheckpointError(expected="a network with a classifier", found="features only", where=model.checkpoint)
        self.model, self.network = model, model.create()

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits; see `class_names`."""
        return class_names(self.model)

    def predict(self, pictures) -> list[Prediction]:
        """What is on the pictures, one Prediction for each, in their order.

        Args:
            pictures: a JPEG or PNG file, or a picture as uint8 (H, W, 3) RGB, or any number of them.

        Raises:
            DataError: a file is no whole picture; see `models.preprocess.read_picture`.
            UsageError: something else than a path or a uint8 array.
            CheckpointError: the network's answer is not finite.
        """
        several, found = iter(_several(pictures)), []
        while part := list(itertools.islice(several, BATCH)):
            inputs = np.stack([preprocess(_checked(picture), self.model.input_spec) for picture in part])
            found += predictions(self.logits(inputs), self.labels)
        return found

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Logits float32 (N, K) of preprocessed pictures (N, 3, H, W)."""
        import mindspore as ms

        logits = self.network(ms.Tensor(inputs)).asnumpy().astype(np.float32)
        if not np.isfinite(logits).all():
            raise CheckpointError(expected="finite logits", found="inf or nan", where=self.model.source)
        return logits


def class_names(model: TrainedModel) -> tuple[str, ...]:
    """The names of `model`'s classes in the order of its logits.

    A built-in checkpoint carries none: all of them are of ImageNet, their classes in the order of the synset ids. Of
    other models without labels the names are the indices, "0" and so on.
    """
    if model.source == LOCATION:
        return model.labels or read_labels(SYNSETS)
    return model.labels or tuple(map(str, range(model.num_classes or 0)))


def _several(pictures):
    one = isinstance(pictures, (str, os.PathLike)) or (isinstance(pictures, np.ndarray) and pictures.ndim == 3)
    return [pictures] if one else pictures


def _checked(picture):
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    array = isinstance(picture, np.ndarray)
    if not array or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(
            expected="the path of a picture, or uint8 (H, W, 3) in RGB",
            found=f"{picture.dtype} {picture.shape}" if array else type(picture).__name__,
            do="Decode it, for example numpy.asarray(PIL.Image.open(file).convert('RGB')).",
        )
    if not picture.size:
        raise DataError(expected="a picture", found=f"no pixels: {picture.shape}")
    return picture


def load(name, registry=None, device: str = "auto", network: str | None = None, labels=None) -> Classifier:
    """The model called `name`, ready to be asked: `glorext.load("resnext50-digits").predict("7.png")`.

    The bare network is what `mindspore_hub.load` and `glorext.hub.load` give.

    Args:
        name: whatever `open_model` takes: a name, a run, a checkpoint, a package.
        registry, network, labels: as for `open_model`.
        device: "auto", "CPU", "GPU" or "Ascend".

    Raises:
        NotFoundError, IntegrityError, DownloadError, RegistryError, PackageError, CheckpointError, DataError,
        UsageError: see `open_model`. DeviceError: the device is not there.
    """
    set_device(device)
    return Classifier(open_model(name, registry, network, labels, FOR_LOADING))
