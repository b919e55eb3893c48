"""The MINDIR of MindSpore 2.10 reaches MindSpore Lite 2.0.0 whole, for every kind of network, or not at all."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from glorext.deploy.contract.artifact import read_artifact, write_artifact
from glorext.deploy.convert.converter import convert, convert_routes
from glorext.deploy.export import mindir
from glorext.deploy.export.exporter import export
from glorext.deploy.runners.lite import run_tensor
from glorext.runtime import ConversionError, DataError, UsageError

from .made import trained

SIZE = 32
GLORE = {"layers": (1, 1, 2, 1), "units": ((), (), (1,), ()), "stem_width": 16, "num_classes": 10}


def make(folder, name, network, arguments):
    """A Source with random weights in which no layer is an identity."""
    import mindspore as ms

    from glorext.models import InputSpec, create, save_checkpoint, weights_digest
    from glorext.runtime import set_device

    set_device("CPU")
    generator = np.random.default_rng(11)
    ms.set_seed(11)
    net = create(network, **arguments)
    for parameter in net.get_parameters():
        value = parameter.asnumpy() * (1 if parameter.ndim > 1 else 0.3) + generator.normal(0, 0.1, parameter.shape)
        parameter.set_data(ms.Tensor((np.abs(value) + 0.3 if "variance" in parameter.name else value).astype("f4")))
    path = folder / f"{name}.ckpt"
    save_checkpoint(net, path)
    network_args = {key: value for key, value in arguments.items() if key != "num_classes"}
    spec = InputSpec(size=SIZE, resize=SIZE)
    return trained(
        path,
        name=name,
        network=network,
        network_args=network_args,
        num_classes=arguments["num_classes"],
        input_spec=spec,
        weights_sha256=weights_digest(path),
    )


@pytest.fixture(scope="module")
def glore(tmp_path_factory):
    """A tiny GloRe-ResNet50 and the folder with its exports, the batch open."""
    folder = tmp_path_factory.mktemp("glore")
    source = make(folder, "glore", "glore_res50", GLORE)
    export(source, folder)
    return SimpleNamespace(source=source, folder=folder)


@pytest.fixture(scope="module")
def version1(glore, tmp_path_factory):
    path = tmp_path_factory.mktemp("version1") / "glore.mindir"
    mindir.rewrite(glore.folder / "glore.mindir", path)
    return mindir.read(path)


def attributes(primitive):
    return {attribute.name: attribute for attribute in primitive.attribute}


def test_an_export_has_the_contracts_names(glore):
    artifact, model = read_artifact(glore.folder / "glore.mindir"), mindir.read(glore.folder / "glore.mindir")
    assert [port.name for port in model.graph.input] == [artifact.input.name] == ["image"]
    assert [port.name for port in model.graph.output] == [artifact.output.name] == ["logits"]
    assert model.mind_ir_version == 3


def test_version_1_is_whole(version1):
    assert version1.mind_ir_version == 1
    names = (
        {name for node in version1.graph.node for name in node.output}
        | {"image"}
        | {parameter.name for parameter in version1.graph.parameter}
    )
    assert {name for node in version1.graph.node for name in node.input} <= names


def test_every_node_has_a_primitive_of_its_own(version1):
    used = [node.op_type.removeprefix("REF::") for node in version1.graph.node if node.op_type != "Constant"]
    assert len(set(used)) == len(used) and set(used) == {primitive.name for primitive in version1.primitives}
    assert all(primitive.prim_type == primitive.PRIMITIVE for primitive in version1.primitives)


def test_constants_become_attributes_with_their_values(version1):
    by_type = {primitive.op_type: attributes(primitive) for primitive in version1.primitives}
    norm = by_type["BatchNorm"]
    assert (norm["is_training"].i, norm["format"].s) == (0, b"NCHW") and norm["epsilon"].f == pytest.approx(1e-4)
    pool = by_type["AvgPool"]
    assert [size.ints[0] for size in pool["kernel_size"].values] == [1, 1, 2, 2] and pool["pad_mode"].s == b"VALID"
    assert (by_type["MatMul"]["transpose_a"].i, by_type["MatMul"]["transpose_b"].i) == (0, 1)
    assert sorted(
        attributes(primitive)["transpose_b"].i
        for primitive in version1.primitives
        if primitive.op_type == "BatchMatMul"
    ) == [0, 1]
    inputs = {node.op_type.split("::")[-1].split(":")[0]: len(node.input) for node in version1.graph.node}
    assert (inputs["BatchNorm"], inputs["AvgPool"], inputs["MatMul"], inputs["ReduceMean"]) == (5, 1, 2, 2)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda model: setattr(model.primitives[-1], "op_type", "Erfinv"), "Erfinv"),
        (lambda model: setattr(model.graph.node[-1], "op_type", "Partial"), "Partial"),
        (lambda model: model.functions.add(name="branch"), "1 further functions"),
    ],
)
def test_what_is_not_known_is_named(glore, tmp_path, change, message):
    model = mindir.read(glore.folder / "glore.mindir")
    change(model)
    (tmp_path / "odd.mindir").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=message):
        mindir.rewrite(tmp_path / "odd.mindir", tmp_path / "out.mindir")
    assert not (tmp_path / "out.mindir").exists()


def test_a_function_with_other_constants_than_expected_is_refused(glore, tmp_path):
    model = mindir.read(glore.folder / "glore.mindir")
    node = next(node for node in model.graph.node if "BatchNorm" in node.op_type)
    node.input.append(node.input[-1])
    (tmp_path / "odd.mindir").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match="BatchNorm"):
        mindir.rewrite(tmp_path / "odd.mindir", tmp_path / "out.mindir")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 100])
def test_a_file_that_is_no_mindir_is_refused(glore, tmp_path, content):
    (tmp_path / "x.mindir").write_bytes(content)
    with pytest.raises(DataError, match="MINDIR"):
        mindir.rewrite(tmp_path / "x.mindir", tmp_path / "out.mindir")


def check(source, model, programs):
    """The converted `model` computes the network's logits for five pictures."""
    import mindspore as ms

    inputs = np.random.default_rng(5).normal(size=(5, 3, SIZE, SIZE)).astype(np.float32)
    expected = source.create()(ms.Tensor(inputs)).asnumpy()
    assert np.abs(run_tensor(model, inputs, programs) - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.fixture(scope="module")
def routes(glore, native, tmp_path_factory):
    """The tiny GloRe-ResNet50 converted from its MINDIR and from its ONNX: the folder and the artifacts."""
    folder = tmp_path_factory.mktemp("routes")
    artifacts = convert_routes(
        [glore.folder / "glore.mindir", glore.folder / "glore.onnx"], folder, programs=native.programs
    )
    return SimpleNamespace(folder=folder, artifacts=artifacts)


@pytest.mark.native
@pytest.mark.parametrize("model", ["glore_lite.mindir", "glore.ms", "glore_onnx_lite.mindir", "glore_onnx.ms"])
def test_lite_computes_mindspores_logits_by_either_route_at_another_batch(glore, routes, native, model):
    check(glore.source, routes.folder / model, native.programs)


@pytest.mark.native
def test_the_results_of_both_routes_are_kept_apart(routes):
    assert [artifact.source["file"] for artifact in routes.artifacts] == ["glore.mindir"] * 2 + ["glore.onnx"] * 2
    assert len({artifact.file for artifact in routes.artifacts}) == 4


@pytest.mark.native
def test_routes_that_disagree_are_an_error(glore, native, tmp_path, monkeypatch):
    from glorext.deploy.convert import converter as module

    monkeypatch.setattr(
        module, "run_tensor", lambda model, *rest: run_tensor(model, *rest) + 0.01 * ("onnx" in model.name)
    )
    with pytest.raises(ConversionError, match=r"as glore.ms gives them.*1.0e-02 in glore_onnx.ms"):
        convert_routes([glore.folder / "glore.mindir", glore.folder / "glore.onnx"], tmp_path, ["ms"], native.programs)


@pytest.mark.native
def test_a_pre_activation_trunk_with_a_padded_pool_converts_too(native, tmp_path):
    source = make(tmp_path, "v2", "glore_res101", {**GLORE, "stem_pool": "torch"})
    export(source, tmp_path, ["mindir"])
    convert(tmp_path / "v2.mindir", tmp_path, ["ms"], native.programs)
    check(source, tmp_path / "v2.ms", native.programs)


@pytest.mark.native
def test_a_fixed_batch_stays_fixed(source, native, tmp_path):
    export(source, tmp_path, ["mindir"], batch=2)
    (artifact,) = convert(tmp_path / "tiny.mindir", tmp_path, ["ms"], native.programs)
    assert artifact.input.shape == (2, 3, SIZE, SIZE)
    assert run_tensor(tmp_path / "tiny.ms", np.zeros((2, 3, SIZE, SIZE)), native.programs).shape == (2, 10)


def test_exports_of_different_weights_do_not_check_each_other(glore, tmp_path):
    for name in ("glore.onnx", "glore.mindir", "glore.mindir.json"):
        shutil.copy(glore.folder / name, tmp_path)
    values = {
        field.name: getattr(origin, field.name)
        for origin in [read_artifact(glore.folder / "glore.onnx")]
        for field in dataclasses.fields(origin)
        if field.name not in ("file", "size", "sha256")
    }
    write_artifact(
        tmp_path / "glore.onnx", **{**values, "model": dataclasses.replace(values["model"], weights_sha256="0" * 64)}
    )
    with pytest.raises(UsageError, match="one network"):
        convert_routes([tmp_path / "glore.mindir", tmp_path / "glore.onnx"], tmp_path / "out")
    with pytest.raises(UsageError, match="one network"):
        convert_routes([tmp_path / "glore.mindir"] * 2, tmp_path / "out")
