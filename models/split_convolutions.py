"""Grouped convolutions as one convolution for each group: the same parameters and outputs, for devices without them.

MindSpore documents grouped convolutions on Ascend only where every channel is a group of its own.
"""

from mindspore import nn, ops


class _Split(nn.Cell):
    """What a grouped nn.Conv2d calls with its input (N, C, H, W) and its weight (K, C / groups, h, w)."""

    def __init__(self, conv):
        super().__init__()
        self.inputs, self.outputs = conv.in_channels // conv.group, conv.out_channels // conv.group
        self.convolve = ops.Conv2D(
            self.outputs,
            conv.kernel_size,
            pad_mode=conv.pad_mode,
            pad=conv.padding,
            stride=conv.stride,
            dilation=conv.dilation,
        )

    def construct(self, images, weight):
        pairs = zip(ops.split(images, self.inputs, 1), ops.split(weight, self.outputs, 0))
        return ops.concat([self.convolve(image, kernel) for image, kernel in pairs], 1)


def split_convolutions(net) -> None:
    """Make `net` compute each of its grouped convolutions group by group; parameters and their names stay."""
    for _, cell in list(net.cells_and_names()):
        if isinstance(cell, nn.Conv2d) and cell.group > 1:
            cell.conv2d = _Split(cell)
