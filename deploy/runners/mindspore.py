"""Runs networks and MINDIR files in MindSpore."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glorext.deploy.runners.common import MINDSPORE_DEVICES, Request, Run, in_batches
from glorext.models.trained import TrainedModel
from glorext.runtime import set_device
from glorext.train.evaluate import evaluate


def run_network(net, inputs: np.ndarray) -> np.ndarray:
    """Outputs (N, K) float32 of a network for inputs (N, 3, H, W) of any number."""
    import mindspore as ms

    return in_batches(lambda batch: net(ms.Tensor(batch)).asnumpy().astype(np.float32), inputs)


def run_mindir(path: Path, batch: np.ndarray) -> np.ndarray:
    """Outputs (N, K) of an exported MINDIR for one batch of the type and layout that it takes."""
    import mindspore as ms

    return ms.nn.GraphCell(ms.load(str(path)))(ms.Tensor(batch)).asnumpy()


def on_pictures(source: TrainedModel, request: Request) -> Run:
    """A function from pictures to the answers of the checkpoint itself; the device is chosen now.

    Raises:
        DeviceError: the device is not there.
    """
    device = set_device(MINDSPORE_DEVICES[request.device], None if request.device == "cpu" else request.device_id)
    net = source.create()
    return lambda pictures: evaluate(net, source, pictures, device)[1]
