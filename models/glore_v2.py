"""GloRe-ResNet101 and 200 (Chen et al., 2018, arXiv:1811.12814) on a pre-activation trunk, with the published names."""

from collections import OrderedDict

from mindspore import nn
from mindspore.common.initializer import Normal

from .glore_unit import GloReUnit, norm, weight_initializer
from .layers import check_stages, classify, max_pool

EXPANSION = 4


class NormReluConv(nn.Cell):
    """Batch norm, ReLU, and a convolution without bias, padded by kernel // 2 on every side."""

    def __init__(self, in_channels, out_channels, kernel, stride, init):
        super().__init__()
        self.bn = norm(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            pad_mode="pad",
            padding=kernel // 2,
            has_bias=False,
            weight_init=init,
        )

    def construct(self, x):
        return self.conv(self.relu(self.bn(x)))


class ResidualUnit(nn.Cell):
    """1x1, 3x3 with the stride, 1x1, each after its norm (He et al., 2016, arXiv:1603.05027); nothing after the sum.

    The first unit of a stage sends its shortcut through a 1x1 with norm and stride of its own.
    """

    def __init__(self, in_channels, out_channels, stride, first, init):
        super().__init__()
        width = out_channels // EXPANSION
        self.BN_AC_Conv1 = NormReluConv(in_channels, width, 1, 1, init)
        self.BN_AC_Conv2 = NormReluConv(width, width, 3, stride, init)
        self.BN_AC_Conv3 = NormReluConv(width, out_channels, 1, 1, init)
        self.first = first
        if first:
            self.BN_AC_Conv_w = NormReluConv(in_channels, out_channels, 1, stride, init)

    def construct(self, x):
        out = self.BN_AC_Conv3(self.BN_AC_Conv2(self.BN_AC_Conv1(x)))
        return out + (self.BN_AC_Conv_w(x) if self.first else x)


class GloReResNetV2(nn.Cell):
    """GloRe-ResNet, pre-activation: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        layers: residual units in each of the four stages.
        units: for each stage, after which of its residual units a GloRe unit follows, counted from 1.
        stem_width: channels after the 7x7 stem; stage i = 0..3 gives C = 4 * stem_width * 2**i, and its GloRe units
            have C / 4 nodes of C / 2 states.
        num_classes: number of logits.
        in_channels: channels of the picture.
        include_top: False leaves out mean and classifier: the output is the last stage's (N, C, H/32, W/32), after
            its norm and ReLU.
        stem_pool: padding of the stem's MaxPool: "same", as published, or "torch".
        weight_init: "xavier_uniform", "he_normal" or "he_uniform" for the convolutions.

    Raises:
        ValueError: an impossible argument; the message names it.
    """

    def __init__(
        self,
        layers=(3, 4, 23, 3),
        units=((), (1, 3), (3, 11, 19), ()),
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
        self.layer1 = nn.SequentialCell(
            OrderedDict(
                conv=nn.Conv2d(
                    in_channels, stem_width, 7, 2, pad_mode="pad", padding=3, has_bias=False, weight_init=init
                ),
                bn=norm(stem_width),
                relu=nn.ReLU(),
                maxpool=max_pool(stem_pool),
            )
        )
        channels = stem_width
        for i, (blocks, after) in enumerate(zip(layers, units)):
            out_channels = EXPANSION * stem_width * 2**i
            stage = OrderedDict()
            for j in range(1, blocks + 1):
                stride = 2 if i > 0 and j == 1 else 1
                stage[f"Residual_Unit{j}"] = ResidualUnit(channels, out_channels, stride, j == 1, init)
                channels = out_channels
                if j in after:
                    stage[f"Residual_Unit{j}_GloreUnit"] = GloReUnit(channels, channels // EXPANSION, init)
            setattr(self, f"layer{i + 2}", nn.SequentialCell(stage))
        self.tail = nn.SequentialCell(OrderedDict(bn=norm(channels), relu=nn.ReLU()))
        self.include_top = include_top
        if include_top:
            self.classifier = nn.Dense(channels, num_classes, weight_init=Normal(0.01), bias_init="zeros")

    def construct(self, x):
        x = self.tail(self.layer5(self.layer4(self.layer3(self.layer2(self.layer1(x))))))
        return classify(self.classifier, x) if self.include_top else x
