"""What an exported graph holds around the network: normalization, softmax, and weights stored in half precision."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from glorext.deploy.contract.aipp import coefficients
from glorext.models import InputSpec
from glorext.runtime import ExportError

# Cell -> the attribute with its operation on (input, weight). Kernels and matrices are nearly all of a file's bytes.
WEIGHTED = {nn.Conv2d: "conv2d", nn.Dense: "matmul"}


class Deployed(nn.Cell):
    """A network with its normalization before it and a softmax after it, as the arguments say.

    Args:
        net: images (N, 3, H, W), normalized, to logits (N, K).
        spec: whose normalization is folded in; None leaves the input normalized.
        layout: of the input, "NCHW" or "NHWC".
        softmax: give probabilities instead of logits.
    """

    def __init__(self, net, spec: InputSpec | None, layout: str, softmax: bool):
        super().__init__(auto_prefix=False)
        self.net, self.softmax = net, softmax
        self.pixels, self.channels_last = spec is not None, layout == "NHWC"
        if spec is not None:
            self.offset, self.factor = (
                ms.Tensor(value.reshape(1, 3, 1, 1), ms.float32) for value in coefficients(spec)
            )

    def construct(self, image):
        if self.channels_last:
            image = ops.transpose(image, (0, 3, 1, 2))
        if self.pixels:
            image = (ops.cast(image, ms.float32) - self.offset) * self.factor
        answer = self.net(image)
        return ops.softmax(answer, -1) if self.softmax else answer


class Widened(nn.Cell):
    """An operation whose weight is stored in float16 and computed with in float32."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def construct(self, value, weight):
        return self.operation(value, ops.cast(weight, ms.float32))


def store_in_float16(net):
    """Store the kernels and matrices of `net` in float16, in place, and give `net` back; it computes in float32.

    Norms and biases stay: they are few, and small variances do not survive half precision.

    Raises:
        ExportError: a weight is beyond float16's range.
    """
    for name, cell in net.cells_and_names():
        operation = next((attribute for kind, attribute in WEIGHTED.items() if isinstance(cell, kind)), None)
        if operation is None:
            continue
        value, parameter = cell.weight.asnumpy(), f"{name}.weight"
        if np.abs(value).max() > np.finfo(np.float16).max:
            raise ExportError(
                expected=f"weights up to {np.finfo(np.float16).max:.0f} for fp16",
                found=f"{np.abs(value).max():.3g}",
                where=parameter,
                do="Export with --precision fp32.",
            )
        cell.weight = ms.Parameter(ms.Tensor(value.astype(np.float16)), name=parameter)
        plain = getattr(cell, operation)
        # A primitive's attribute does not take a cell in its place.
        delattr(cell, operation)
        setattr(cell, operation, Widened(plain))
    return net
