"""What the networks share: the stem's pool, the classifier, checks of their arguments."""

import mindspore as ms
from mindspore import nn, ops


def max_pool(padding):
    """MaxPool 3x3, stride 2.

    `padding` is "same" (an even side is padded at the bottom and right only, as MindSpore's networks are trained) or
    "torch" (one pixel all around). Zeros serve as padding since a ReLU comes before.
    """
    if padding == "same":
        return nn.MaxPool2d(3, 2, pad_mode="same")
    if padding == "torch":
        # MaxPool2d's own pad_mode="pad" has no ONNX export.
        return nn.SequentialCell(nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))), nn.MaxPool2d(3, 2, pad_mode="valid"))
    raise ValueError(f"stem_pool: expected 'same' or 'torch', found {padding!r}")


def classify(dense, features):
    """Mean over height and width of (N, C, H, W), then `dense`: logits, float32 in every precision mode."""
    return ops.cast(dense(ops.mean(features, (2, 3))), ms.float32)


def check_stages(layers, units=((), (), (), ())):
    """Raise ValueError unless `layers` are four block counts above zero, and `units` name blocks of each."""
    if len(layers) != 4 or min(layers) < 1:
        raise ValueError(f"layers: expected four numbers above zero, found {layers!r}")
    if len(units) != 4 or any(not 1 <= block <= blocks for after, blocks in zip(units, layers) for block in after):
        raise ValueError(
            f"units: expected for each of four stages block numbers from 1 to {tuple(layers)}, found {units!r}"
        )
