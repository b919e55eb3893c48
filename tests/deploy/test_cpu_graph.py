"""The rearranged graph computes what the network computes, in the forms that MindSpore Lite's CPU kernels like."""

import shutil
import subprocess

import numpy as np
import pytest

from glorext.deploy.contract.artifact import read_artifact, write_artifact
from glorext.deploy.contract.golden import golden_paths
from glorext.deploy.convert import cpu_graph
from glorext.deploy.export import mindir
from glorext.deploy.runners.lite import run_tensor

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def graphs(exported, tmp_path_factory):
    """The tiny network as a MINDIR of version 1: as it was written, and rearranged."""
    folder = tmp_path_factory.mktemp("cpu_graph")
    mindir.rewrite(exported / "tiny.mindir", folder / "plain.mindir")
    shutil.copy(folder / "plain.mindir", folder / "rearranged.mindir")
    cpu_graph.rearrange(folder / "rearranged.mindir")
    return folder / "plain.mindir", folder / "rearranged.mindir"


def convolutions(path):
    """(groups, kernel, stride, weight) of every convolution in the order of the graph."""
    model = mindir.read(path)
    primitives = {f"REF::{primitive.name}": primitive for primitive in model.primitives}
    loads = {node.output[0]: node.input[0] for node in model.graph.node if "Load" in node.op_type}
    weights = {one.name: np.frombuffer(one.raw_data, np.float32).reshape(one.dims) for one in model.graph.parameter}
    for node in model.graph.node:
        if node.op_type.startswith("REF::Conv2D"):
            values = {attribute.name: attribute for attribute in primitives[node.op_type].attribute}
            numbers = [tuple(value.ints[0] for value in values[name].values) for name in ("kernel_size", "stride")]
            yield (values["group"].i, *numbers, weights[loads[node.input[1]]])


def test_pairs_of_narrow_groups_become_one_with_zeros_between_them(graphs):
    plain, rearranged = ([one for one in convolutions(path) if one[0] > 1] for path in graphs)
    widths = [one[3].shape[1] for one in plain]
    assert widths == [4, 8, 16, 32]
    assert [one[3].shape[1] for one in rearranged] == [8, 16, 16, 32]
    for (groups, _, _, before), (merged, _, _, after) in zip(plain[:2], rearranged[:2]):
        assert merged == groups // 2
        channels = before.shape[1]
        for number, weight in enumerate(after):
            half = number // (len(after) // groups) % 2
            own = slice(half * channels, (half + 1) * channels)
            assert np.array_equal(weight[own], before[number])
            assert not np.delete(weight, np.arange(channels) + half * channels, axis=0).any()


def test_single_pixels_are_picked_before_the_convolution(graphs):
    plain, rearranged = (list(convolutions(path)) for path in graphs)
    assert sum(one[1:3] == ((1, 1), (1, 1, 2, 2)) for one in plain) == 3
    assert not any(one[1:3] == ((1, 1), (1, 1, 2, 2)) for one in rearranged)
    pools = [[node for node in mindir.read(path).graph.node if "MaxPool" in node.op_type] for path in graphs]
    assert len(pools[1]) == len(pools[0]) + 3


@pytest.mark.parametrize("save", ["ms", "mindir"])
def test_the_logits_stay_the_same(graphs, exported, native, tmp_path, save):
    if native.convert is None:
        pytest.skip("this MindSpore Lite brings its converter as a program")
    origin = read_artifact(exported / "tiny.mindir")
    inputs = np.load(golden_paths(exported, "tiny")[0])
    logits = []
    for path in graphs:
        subprocess.run(
            [
                str(native.convert),
                "--fmk",
                "mindir",
                "--model",
                str(path),
                "--save",
                save,
                "--out",
                str(tmp_path / path.stem),
                "--input_format",
                "NCHW",
            ],
            check=True,
            capture_output=True,
        )
        model = tmp_path / f"{path.stem}.{save}"
        write_artifact(
            model,
            format={"ms": "ms", "mindir": "lite-mindir"}[save],
            model=origin.model,
            source=None,
            input=origin.input,
            output=origin.output,
            labels=origin.labels,
        )
        logits.append(run_tensor(model, inputs, native.programs))
    assert np.abs(logits[0] - logits[1]).max() < 1e-5 * np.abs(logits[0]).max()
