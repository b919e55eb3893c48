"""ResNeXt (Xie et al., 2016, arXiv:1611.05431), post-activation, with the names of the published checkpoints."""

from mindspore import nn
from mindspore.common.initializer import HeNormal

from .layers import check_stages, classify, max_pool

EXPANSION = 4


def conv(in_channels, out_channels, kernel, stride=1, groups=1):
    """A convolution without bias, padded by kernel // 2 on every side; He normal over fan-out, as a ReLU follows."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        pad_mode="pad",
        padding=kernel // 2,
        group=groups,
        has_bias=False,
        weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
    )


def norm(channels, gamma_init="ones"):
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.9, gamma_init=gamma_init)


class DownSample(nn.Cell):
    """The shortcut of a block that changes shape: a 1x1 convolution with the stride, and batch norm."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv = conv(in_channels, out_channels, 1, stride)
        self.bn = norm(out_channels)

    def construct(self, x):
        return self.bn(self.conv(x))


class Bottleneck(nn.Cell):
    """1x1, 3x3 in groups, 1x1 (figure 3c of the paper); the 3x3 carries the stride.

    The last batch norm starts with gamma zero, so that a fresh block passes its shortcut on (Goyal et al., 2017,
    arXiv:1706.02677, section 5.1).
    """

    def __init__(self, in_channels, width, out_channels, stride, groups):
        super().__init__()
        self.conv1 = conv(in_channels, width, 1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, stride, groups)
        self.bn2 = norm(width)
        self.conv3 = conv(width, out_channels, 1)
        self.bn3 = norm(out_channels, gamma_init="zeros")
        self.relu = nn.ReLU()
        self.has_down_sample = stride != 1 or in_channels != out_channels
        if self.has_down_sample:
            self.down_sample = DownSample(in_channels, out_channels, stride)

    def construct(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = self.down_sample(x) if self.has_down_sample else x
        return self.relu(out + shortcut)


class Backbone(nn.Cell):
    """Stem and four stages: (N, in_channels, H, W) to (N, 32 stem_width, H/32, W/32)."""

    def __init__(self, layers, groups, width_per_group, stem_width, in_channels, stem_pool):
        super().__init__()
        self.conv = conv(in_channels, stem_width, 7, 2)
        self.bn = norm(stem_width)
        self.relu = nn.ReLU()
        self.max_pool = max_pool(stem_pool)
        channels = stem_width
        for i, blocks in enumerate(layers):
            width, out_channels = groups * width_per_group * 2**i, EXPANSION * stem_width * 2**i
            stage = nn.SequentialCell()
            for j in range(blocks):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(Bottleneck(channels, width, out_channels, stride, groups))
                channels = out_channels
            setattr(self, f"layer{i + 1}", stage)
        self.out_channels = channels

    def construct(self, x):
        x = self.max_pool(self.relu(self.bn(self.conv(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Head(nn.Cell):
    """Mean over height and width, then the classifier; the logits are float32 in every precision mode."""

    def __init__(self, channels, num_classes):
        super().__init__()
        self.fc = nn.Dense(channels, num_classes)

    def construct(self, x):
        return classify(self.fc, x)


class ResNeXt(nn.Cell):
    """ResNeXt: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        layers: bottlenecks in each of the four stages.
        groups: groups of the 3x3 convolutions (the paper's cardinality).
        width_per_group: channels of a group in the first stage; doubles with each stage.
        stem_width: channels after the stem; stage i = 0..3 gives 4 * stem_width * 2**i.
        num_classes: number of logits.
        in_channels: channels of the picture.
        include_top: False leaves out mean and classifier: the output is the last stage's (N, C, H/32, W/32).
        stem_pool: padding of the stem's MaxPool, see `max_pool`: "same" or "torch".

    Raises:
        ValueError: not four stages of at least one block, or an unknown `stem_pool`.
    """

    def __init__(
        self,
        layers=(3, 4, 6, 3),
        groups=32,
        width_per_group=4,
        stem_width=64,
        num_classes=1000,
        in_channels=3,
        include_top=True,
        stem_pool="same",
    ):
        super().__init__()
        check_stages(layers)
        self.backbone = Backbone(layers, groups, width_per_group, stem_width, in_channels, stem_pool)
        self.include_top = include_top
        if include_top:
            self.head = Head(self.backbone.out_channels, num_classes)

    def construct(self, x):
        x = self.backbone(x)
        return self.head(x) if self.include_top else x
