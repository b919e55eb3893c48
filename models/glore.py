"""GloRe-ResNet50 (Chen et al., 2018, arXiv:1811.12814) on a ResNet-D trunk, with the published names."""

from collections import OrderedDict

from mindspore import nn
from mindspore.common.initializer import Normal

from .glore_unit import GloReUnit, norm, weight_initializer
from .layers import check_stages, classify, max_pool

EXPANSION = 4


def conv(in_channels, out_channels, kernel, stride, init):
    """A convolution without bias; "same" pads at the bottom and right only, for a stride of 2 and an even side."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, pad_mode="same", has_bias=False, weight_init=init)


class Bottleneck(nn.Cell):
    """1x1, 3x3 with the stride, 1x1; the shortcut averages before its 1x1 (ResNet-D of He et al., arXiv:1812.01187).

    The last batch norm starts with gamma zero, so that a fresh block passes its shortcut on.
    """

    def __init__(self, in_channels, out_channels, stride, init):
        super().__init__()
        width = out_channels // EXPANSION
        self.conv1 = conv(in_channels, width, 1, 1, init)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, stride, init)
        self.bn2 = norm(width)
        self.conv3 = conv(width, out_channels, 1, 1, init)
        self.bn3 = norm(out_channels, gamma_init="zeros")
        self.relu = nn.ReLU()
        self.has_down_sample = stride != 1 or in_channels != out_channels
        if self.has_down_sample:
            pool = nn.AvgPool2d(stride, stride) if stride > 1 else nn.Identity()
            self.down_sample_layer = nn.SequentialCell(
                pool, conv(in_channels, out_channels, 1, 1, init), norm(out_channels)
            )

    def construct(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = self.down_sample_layer(x) if self.has_down_sample else x
        return self.relu(out + shortcut)


class GloReResNet(nn.Cell):
    """GloRe-ResNet, post-activation: (N, in_channels, H, W), H and W multiples of 32, to logits (N, num_classes).

    Args:
        layers: bottlenecks in each of the four stages.
        units: for each stage, after which of its blocks a GloRe unit follows, counted from 1.
        stem_width: channels after the stem, even; stage i = 0..3 gives C = 4 * stem_width * 2**i, and its units have
            C / 4 nodes of C / 2 states.
        num_classes: number of logits.
        in_channels: channels of the picture.
        include_top: False leaves out mean and classifier: the output is the last stage's (N, C, H/32, W/32).
        stem_pool: padding of the stem's MaxPool: "same", as published, or "torch".
        weight_init: "xavier_uniform", "he_normal" or "he_uniform" for the convolutions.

    Raises:
        ValueError: an impossible argument; the message names it.
    """

    def __init__(
        self,
        layers=(3, 4, 6, 3),
        units=((), (), (1, 3, 5), ()),
        stem_width=64,
        num_classes=1000,
        in_channels=3,
        include_top=True,
        stem_pool="same",
        weight_init="xavier_uniform",
    ):
        super().__init__()
        check_stages(layers, units)
        init = weight_initializer(weight_init)
        half = stem_width // 2
        self.conv1 = nn.SequentialCell(
            OrderedDict(
                conv_1=conv(in_channels, half, 3, 2, init),
                bn1=norm(half),
                relu1=nn.ReLU(),
                conv_2=conv(half, half, 3, 1, init),
                bn2=norm(half),
                relu2=nn.ReLU(),
                conv_3=conv(half, stem_width, 3, 1, init),
            )
        )
        self.bn1 = norm(stem_width)
        self.relu = nn.ReLU()
        self.max_pool = max_pool(stem_pool)
        channels = stem_width
        for i, (blocks, after) in enumerate(zip(layers, units)):
            out_channels = EXPANSION * stem_width * 2**i
            stage = nn.SequentialCell()
            for j in range(1, blocks + 1):
                stage.append(Bottleneck(channels, out_channels, 2 if i > 0 and j == 1 else 1, init))
                channels = out_channels
                if j in after:
                    stage.append(GloReUnit(channels, channels // EXPANSION, init))
            setattr(self, f"layer{i + 1}", stage)
        self.include_top = include_top
        if include_top:
            self.end_point = nn.Dense(channels, num_classes, weight_init=Normal(0.01), bias_init="zeros")

    def construct(self, x):
        x = self.max_pool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return classify(self.end_point, x) if self.include_top else x
