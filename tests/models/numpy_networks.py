"""The six networks once more, in float64 NumPy and in the words of the papers, to check the ones in MindSpore."""

import numpy as np


def conv2d(x, weight, stride=1, pad=(0, 0, 0, 0), groups=1):
    """`pad` is top, bottom, left, right."""
    top, bottom, left, right = pad
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    k = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups, axis=0))
    return np.concatenate([np.einsum("nchwij,ocij->nohw", a, b, optimize=True) for a, b in parts], axis=1)


def same(size, kernel, stride):
    """TensorFlow's and MindSpore's "same": what is odd goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv_same(x, weight, stride=1):
    k = weight.shape[2]
    return conv2d(x, weight, stride, same(x.shape[2], k, stride) + same(x.shape[3], k, stride))


def conv_even(x, weight, stride=1, groups=1):
    return conv2d(x, weight, stride, (weight.shape[2] // 2,) * 4, groups)


def max_pool(x, padding):
    pad = ((1, 1), (1, 1)) if padding == "torch" else tuple(same(size, 3, 2) for size in x.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), *pad), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max((4, 5))


def mean_pool(x, k):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // k, k, w // k, k).mean((3, 5))


def relu(x):
    return np.maximum(x, 0)


class Network:
    """Weights by published name. With `settle`, each batch norm's running statistics are first set near those of its
    input, so that random weights give activations of order one at any depth, and none of the statistics is trivial."""

    def __init__(self, weights, eps, settle=None):
        self.weights = weights
        self.eps = eps
        self.settle = settle

    def __getitem__(self, name):
        return self.weights[name].astype(np.float64)

    def __contains__(self, prefix):
        return any(name.startswith(f"{prefix}.") for name in self.weights)

    def norm(self, x, name):
        if self.settle is not None:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            shift = self.settle.normal(0, 0.2, mean.shape) * np.sqrt(var)
            self.weights[f"{name}.moving_mean"] = (mean + shift).astype(np.float32)
            self.weights[f"{name}.moving_variance"] = (var * self.settle.uniform(0.6, 1.6, var.shape) + 1e-3).astype(
                np.float32
            )
        gamma, beta, mean, var = (
            self[f"{name}.{part}"][:, None, None] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(var + self.eps) * gamma + beta

    def logits(self, x, name):
        return x.mean((2, 3)) @ self[f"{name}.weight"].T + self[f"{name}.bias"]


def resnext(weights, x, stem_pool="same", settle=None):
    net = Network(weights, 1e-5, settle)
    x = relu(net.norm(conv_even(x, net["backbone.conv.weight"], 2), "backbone.bn"))
    x = max_pool(x, stem_pool)
    for stage in (1, 2, 3, 4):
        block = 0
        while f"backbone.layer{stage}.{block}" in net:
            at, stride = f"backbone.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            grouped = net[f"{at}.conv2.weight"]
            y = relu(net.norm(conv_even(x, net[f"{at}.conv1.weight"]), f"{at}.bn1"))
            y = relu(net.norm(conv_even(y, grouped, stride, grouped.shape[0] // grouped.shape[1]), f"{at}.bn2"))
            y = net.norm(conv_even(y, net[f"{at}.conv3.weight"]), f"{at}.bn3")
            if f"{at}.down_sample" in net:
                x = net.norm(conv_even(x, net[f"{at}.down_sample.conv.weight"], stride), f"{at}.down_sample.bn")
            x = relu(x + y)
            block += 1
    return net.logits(x, "head.fc")


def glore_unit(net, x, at):
    n, _, h, w = x.shape
    state, projection = (
        conv2d(relu(net.norm(x, f"{at}.{branch}.0")), net[f"{at}.{branch}.2.weight"])
        for branch in ("conv_state", "conv_proj")
    )
    s, p = state.reshape(n, -1, h * w), projection.reshape(n, -1, h * w)
    x_nodes = np.einsum("nsl,nml->nsm", s, p)
    mixed = np.einsum("om,nsm->nso", net[f"{at}.gcn.conv1.weight"][:, :, 0, 0], x_nodes)
    hidden = relu(mixed + x_nodes)
    updated = np.einsum("os,nsm->nom", net[f"{at}.gcn.conv2.weight"][:, :, 0, 0], hidden)
    y = np.einsum("nsm,nml->nsl", updated, p).reshape(n, -1, h, w)
    return x + conv2d(relu(net.norm(y, f"{at}.conv_extend.0")), net[f"{at}.conv_extend.2.weight"])


def glore(weights, x, stem_pool="same", settle=None):
    net = Network(weights, 1e-4, settle)
    x = relu(net.norm(conv_same(x, net["conv1.conv_1.weight"], 2), "conv1.bn1"))
    x = relu(net.norm(conv_same(x, net["conv1.conv_2.weight"]), "conv1.bn2"))
    x = max_pool(relu(net.norm(conv_same(x, net["conv1.conv_3.weight"]), "bn1")), stem_pool)
    for stage in (1, 2, 3, 4):
        member = 0
        while f"layer{stage}.{member}" in net:
            at, stride = f"layer{stage}.{member}", 2 if stage > 1 and member == 0 else 1
            member += 1
            if f"{at}.gcn" in net:
                x = glore_unit(net, x, at)
                continue
            y = relu(net.norm(conv_same(x, net[f"{at}.conv1.weight"]), f"{at}.bn1"))
            y = relu(net.norm(conv_same(y, net[f"{at}.conv2.weight"], stride), f"{at}.bn2"))
            y = net.norm(conv_same(y, net[f"{at}.conv3.weight"]), f"{at}.bn3")
            if f"{at}.down_sample_layer" in net:
                x = conv_same(mean_pool(x, stride), net[f"{at}.down_sample_layer.1.weight"])
                x = net.norm(x, f"{at}.down_sample_layer.2")
            x = relu(x + y)
    return net.logits(x, "end_point")


def glore_v2(weights, x, stem_pool="same", settle=None):
    net = Network(weights, 1e-4, settle)

    def norm_relu_conv(x, at, stride=1):
        return conv_even(relu(net.norm(x, f"{at}.bn")), net[f"{at}.conv.weight"], stride)

    x = max_pool(relu(net.norm(conv_even(x, net["layer1.conv.weight"], 2), "layer1.bn")), stem_pool)
    for stage in (2, 3, 4, 5):
        unit = 1
        while f"layer{stage}.Residual_Unit{unit}" in net:
            at, stride = f"layer{stage}.Residual_Unit{unit}", 2 if stage > 2 and unit == 1 else 1
            y = norm_relu_conv(x, f"{at}.BN_AC_Conv1")
            y = norm_relu_conv(y, f"{at}.BN_AC_Conv2", stride)
            y = norm_relu_conv(y, f"{at}.BN_AC_Conv3")
            x = y + (norm_relu_conv(x, f"{at}.BN_AC_Conv_w", stride) if unit == 1 else x)
            if f"{at}_GloreUnit" in net:
                x = glore_unit(net, x, f"{at}_GloreUnit")
            unit += 1
    return net.logits(relu(net.norm(x, "tail.bn")), "classifier")


FORWARD = {"resnext": resnext, "glore": glore, "glore_v2": glore_v2}


def settled_weights(shapes, forward, x, seed=0):
    """Random float32 weights for names and shapes, nothing zero or one, the statistics settled on `x`."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("gamma"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 4:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif len(shape) == 2:
            value = rng.normal(0, 1 / np.sqrt(shape[1]), shape)
        else:
            value = rng.normal(0, 0.2, shape)
        weights[name] = value.astype(np.float32)
    forward(weights, x, settle=rng)
    return weights
