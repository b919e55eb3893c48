"""Rearranges a rewritten MINDIR for the CPU kernels of MindSpore Lite 2.0.0; what it computes stays the same.

Two forms in which these networks write convolutions fall on slow kernels there (ResNeXt50, one thread of AVX-512, ms):

- Grouped convolutions copy every group's channels out and back, pixel by pixel. With fewer than 16 channels in a group
  that costs more than the arithmetic, so pairs of groups become one whose weights are zero across the pair:
  4 channels 4.7 -> 1.8 a layer, 8 channels 0.98 -> 0.86. From 16 channels on it loses: 0.64 -> 0.81.
- A 1x1 convolution with a stride runs on AVX2 instead of AVX-512. Picking its pixels first, as a 1x1 max pooling with
  that stride, leaves one without: 4.1 -> 1.75, 2.9 -> 1.4 and 2.7 -> 1.45 for the three shortcuts that halve a picture.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from glorext.deploy.export import mindir

FEWEST_CHANNELS = 16


def rearrange(path: Path) -> None:
    """Rearrange the version 1 MINDIR `path` (see `mindir.rewrite`) in place."""
    model = mindir.read(path)
    primitives = {f"REF::{primitive.name}": primitive for primitive in model.primitives}
    weights = {parameter.name: parameter for parameter in model.graph.parameter}
    made_by = {name: node for node in model.graph.node for name in node.output}
    nodes = []
    for node in model.graph.node:
        primitive = primitives.get(node.op_type)
        if primitive is not None and primitive.op_type == "Conv2D":
            weight, carriers = _weight(node.input[1], weights, made_by)
            if _has_narrow_groups(primitive, weight):
                _pair_groups(primitive, weight, carriers)
            elif _skips_pixels(primitive):
                nodes.append(_pick_pixels(model, primitive, node, channels=weight.dims[1]))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    Path(path).write_bytes(model.SerializeToString())


def _weight(name: str, weights: dict, made_by: dict):
    """The parameter that a convolution takes, and the nodes in between: a load, a cast of float16 weights."""
    carriers = []
    while name not in weights:
        carriers.append(made_by[name])
        name = carriers[-1].input[0]
    return weights[name], carriers


def _attribute(primitive, name: str):
    return next(attribute for attribute in primitive.attribute if attribute.name == name)


def _integers(primitive, name: str) -> list[int]:
    return [value.ints[0] for value in _attribute(primitive, name).values]


def _has_narrow_groups(primitive, weight) -> bool:
    # One channel in each group is a depthwise convolution, which has kernels of its own.
    return _attribute(primitive, "group").i % 2 == 0 and 1 < weight.dims[1] < FEWEST_CHANNELS


def _pair_groups(primitive, weight, carriers) -> None:
    groups = _attribute(primitive, "group").i
    dtype = {weight.FLOAT: np.float32, weight.FLOAT16: np.float16}[weight.data_type]
    narrow = np.frombuffer(weight.raw_data, dtype).reshape(groups // 2, 2, -1, *weight.dims[1:])
    pairs, _, filters, channels, *window = narrow.shape
    wide = np.zeros((pairs, 2, filters, 2, channels, *window), dtype)
    for half in range(2):
        wide[:, half, :, half] = narrow[:, half]
    weight.raw_data = wide.tobytes()
    weight.dims[1] *= 2
    for carrier in carriers:
        _attribute(carrier, "shape").tensors[0].dims[1] *= 2
    for name in ("group", "groups"):
        _attribute(primitive, name).i = groups // 2


def _skips_pixels(primitive) -> bool:
    return (
        _integers(primitive, "kernel_size") == [1, 1]
        and math.prod(_integers(primitive, "stride")) > 1
        and not any(_integers(primitive, "pad_list"))
        and _attribute(primitive, "group").i == 1
    )


def _pick_pixels(model, convolution, node, channels: int):
    """A max pooling of single pixels that takes over the stride of the convolution at `node`."""
    pool = model.primitives.add(
        name=f"MaxPool:{convolution.name}", op_type="MaxPool", instance_name="max_pool", prim_type=convolution.prim_type
    )
    for name in ("format", "input_names", "output_names"):
        pool.attribute.add().CopyFrom(_attribute(convolution, name))
    del _attribute(pool, "input_names").values[1:]
    stride = _attribute(convolution, "stride")
    pool.attribute.add().CopyFrom(stride)
    pool.attribute[-1].name = "strides"
    for value in stride.values:
        value.ints[0] = 1
    pool.attribute.add().CopyFrom(stride)
    pool.attribute[-1].name = "kernel_size"
    mode = pool.attribute.add(name="pad_mode")
    mode.type, mode.s = mode.STRING, b"VALID"

    pick = type(node)()
    pick.CopyFrom(node)
    pick.op_type, pick.name = f"REF::{pool.name}", f"{node.output[0]}:picked"
    pick.domain += "-picked"
    pick.input[:], pick.output[:] = [node.input[0]], [pick.name]
    _attribute(pick, "shape").tensors[0].dims[1] = channels
    node.input[0] = pick.name
    return pick
