"""What the networks share: the stem's pool."""
from mindspore import nn


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
