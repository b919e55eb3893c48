"""ResNeXt50 and GloRe-ResNet50 in plain PyTorch, with glorext's names, as the peers of the training benchmark."""

import torch
from torch import nn
from torch.nn import functional as F

SUFFIXES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def load(net: nn.Module, arrays: dict) -> None:
    """Take over the arrays of a MindSpore network; every name and shape has to fit."""
    renamed = {}
    for name, array in arrays.items():
        stem, _, suffix = name.rpartition(".")
        renamed[f"{stem}.{SUFFIXES.get(suffix, suffix)}"] = torch.from_numpy(array)
    counts = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    net.load_state_dict(renamed | counts)


class SameConv2d(nn.Conv2d):
    """MindSpore's pad_mode="same" for an even side and stride 2: one pixel at the bottom and right."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def conv(in_channels, out_channels, kernel, stride=1, groups=1, same=False):
    if same and stride == 2 and kernel == 3:
        return SameConv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, and a shortcut."""

    def __init__(self, in_channels, width, out_channels, stride, groups, norm, same):
        super().__init__()
        self.conv1, self.bn1 = conv(in_channels, width, 1), norm(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride, groups, same), norm(width)
        self.conv3, self.bn3 = conv(width, out_channels, 1), norm(out_channels)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))

    def shortcut(self, x):
        return x


class ResNeXtBottleneck(Bottleneck):
    """The shortcut is a 1x1 with the stride."""

    def __init__(self, in_channels, stage, stride):
        out_channels = 256 * 2**stage
        super().__init__(in_channels, out_channels // 2, out_channels, stride, 32, nn.BatchNorm2d, False)
        if stride != 1 or in_channels != out_channels:
            self.down_sample = nn.ModuleDict(
                {"conv": conv(in_channels, out_channels, 1, stride), "bn": nn.BatchNorm2d(out_channels)}
            )

    def shortcut(self, x):
        return self.down_sample["bn"](self.down_sample["conv"](x)) if hasattr(self, "down_sample") else x


class GloReBottleneck(Bottleneck):
    """The shortcut averages, then a 1x1."""

    def __init__(self, in_channels, stage, stride):
        out_channels = 256 * 2**stage
        super().__init__(in_channels, out_channels // 4, out_channels, stride, 1, glore_norm, True)
        if stride != 1 or in_channels != out_channels:
            pool = nn.AvgPool2d(stride, stride) if stride > 1 else nn.Identity()
            self.down_sample_layer = nn.Sequential(pool, conv(in_channels, out_channels, 1), glore_norm(out_channels))

    def shortcut(self, x):
        return self.down_sample_layer(x) if hasattr(self, "down_sample_layer") else x


def glore_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.08)


class GloReUnit(nn.Module):
    """x + conv(relu(BN(R P))): reasoning on a graph of `nodes` nodes with 2 * nodes states."""

    def __init__(self, channels, nodes):
        super().__init__()
        states = 2 * nodes
        self.conv_state = nn.Sequential(glore_norm(channels), nn.ReLU(), conv(channels, states, 1))
        self.conv_proj = nn.Sequential(glore_norm(channels), nn.ReLU(), conv(channels, nodes, 1))
        self.gcn = nn.ModuleDict({"conv1": conv(nodes, nodes, 1), "conv2": conv(states, states, 1)})
        self.conv_extend = nn.Sequential(glore_norm(states), nn.ReLU(), conv(states, channels, 1))

    def forward(self, x):
        s, p = self.conv_state(x).flatten(2), self.conv_proj(x).flatten(2)
        nodes = (p @ s.transpose(1, 2)).unsqueeze(3)
        h = F.relu(self.gcn["conv1"](nodes) + nodes).transpose(1, 2)
        y = self.gcn["conv2"](h.contiguous()).squeeze(3) @ p
        return x + self.conv_extend(y.unflatten(2, x.shape[2:]))


def stages(block, units=()):
    """The four stages' modules and their names; `units` tells after which blocks of the third a GloRe unit follows."""
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        members = []
        for j in range(1, blocks + 1):
            members.append(block(channels, stage, 2 if stage and j == 1 else 1))
            channels = 256 * 2**stage
            if stage == 2 and j in units:
                members.append(GloReUnit(channels, channels // 4))
        yield f"layer{stage + 1}", nn.Sequential(*members)


class ResNeXt50(nn.Module):
    """resnext50; ceil_mode pads the stem's pool as MindSpore's "same" does for an even side."""

    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.ModuleDict(
            {"conv": conv(3, 64, 7, 2), "bn": nn.BatchNorm2d(64), **dict(stages(ResNeXtBottleneck))}
        )
        self.head = nn.ModuleDict({"fc": nn.Linear(2048, num_classes)})

    def forward(self, x):
        net = self.backbone
        x = F.max_pool2d(F.relu(net["bn"](net["conv"](x))), 3, 2, ceil_mode=True)
        for i in range(1, 5):
            x = net[f"layer{i}"](x)
        return self.head["fc"](x.mean((2, 3)))


class GloReResNet50(nn.Module):
    """glore_res50."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Sequential()
        for name, module in (
            ("conv_1", conv(3, 32, 3, 2, same=True)),
            ("bn1", glore_norm(32)),
            ("relu1", nn.ReLU()),
            ("conv_2", conv(32, 32, 3)),
            ("bn2", glore_norm(32)),
            ("relu2", nn.ReLU()),
            ("conv_3", conv(32, 64, 3)),
        ):
            self.conv1.add_module(name, module)
        self.bn1 = glore_norm(64)
        for name, module in stages(GloReBottleneck, (1, 3, 5)):
            self.add_module(name, module)
        self.end_point = nn.Linear(2048, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, ceil_mode=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.end_point(x.mean((2, 3)))


NETWORKS: dict[str, type[nn.Module]] = {"resnext50": ResNeXt50, "glore_res50": GloReResNet50}
