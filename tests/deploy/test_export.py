"""Exported files compute the network's logits, at any batch where the batch is open, and carry their contract."""

import dataclasses
import json

import numpy as np
import pytest

from glorext.deploy.contract.artifact import Port, read_artifact
from glorext.deploy.export.exporter import export, main, run_exported
from glorext.deploy.export.formats import Variant, check_request
from glorext.deploy.export.onnx_file import metadata
from glorext.models.labels import labels_digest
from glorext.runtime import ExportError, UsageError


@pytest.mark.parametrize("name", ["mindir", "onnx"])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_computes_the_networks_logits(source, exported, name, batch):
    import mindspore as ms

    inputs = np.random.default_rng(batch).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    expected = source.create()(ms.Tensor(inputs)).asnumpy()
    found = run_exported(name, exported / f"tiny.{name}", inputs)
    assert np.abs(expected).max() > 0.5, "the network must say something"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_contract_says_what_the_file_is(source, exported):
    artifact = read_artifact(exported / "tiny.onnx")
    assert (artifact.format, artifact.input.shape, artifact.output.shape) == ("onnx", (-1, 3, 32, 32), (-1, 10))
    assert artifact.model == source.identity()
    assert artifact.input_spec == source.input_spec and artifact.labels == source.labels


def test_golden_files_hold_the_networks_own_answer(source, exported):
    import mindspore as ms

    inputs, logits = np.load(exported / "tiny_golden_input.npy"), np.load(exported / "tiny_golden_output.npy")
    assert inputs.shape == (4, 3, 32, 32) and logits.shape == (4, 10)
    np.testing.assert_allclose(source.create()(ms.Tensor(inputs)).asnumpy(), logits, atol=1e-5)


def test_a_fixed_batch_is_written_and_checked(source, tmp_path):
    (artifact,) = export(source, tmp_path, ["onnx"], batch=2)
    assert artifact.input.shape == (2, 3, 32, 32)
    assert run_exported("onnx", tmp_path / "tiny.onnx", np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 10)


@pytest.mark.parametrize(
    "formats, batch, told",
    [
        (["tflite"], 1, "tflite"),
        (["onnx"], 0, "--batch"),
        (["onnx"], "many", "--batch"),
        (["onnx"], -2, "--batch"),
        (["air"], 1, "only on Ascend"),
        (["air"], "dynamic", "dynamic batch"),
    ],
)
def test_the_impossible_is_refused_before_work_starts(formats, batch, told):
    with pytest.raises(UsageError, match=told):
        check_request(formats, batch, "CPU")


def test_air_is_allowed_on_ascend():
    assert check_request(["air"], 4, "Ascend") == {"air": 4}


def test_without_a_batch_it_is_open_where_the_format_allows_it():
    assert check_request(["mindir", "onnx", "air"], None, "Ascend") == {"mindir": -1, "onnx": -1, "air": 1}


@pytest.mark.parametrize(
    "formats, variant, told",
    [
        (["air"], Variant("fp16"), "float16 weights"),
        (["air"], Variant(pixels="uint8"), "folded normalization"),
        (["onnx"], Variant("bf16"), "--precision"),
        (["onnx"], Variant("int8"), "int8 is not offered"),
        (["onnx"], Variant(pixels="int8"), "--pixels"),
        (["onnx"], Variant(layout="NHWC"), "always NCHW"),
        (["onnx"], Variant(pixels="uint8", layout="CHWN"), "--layout"),
    ],
)
def test_a_variant_that_a_format_does_not_allow_is_refused_before_work_starts(formats, variant, told):
    with pytest.raises(UsageError, match=told):
        check_request(formats, 1, "Ascend", variant)


def test_a_wrong_file_is_not_kept(source, tmp_path, monkeypatch):
    from glorext.deploy.export import exporter as module

    monkeypatch.setattr(
        module, "run_exported", lambda name, path, batch, layout: np.full((len(batch), 10), 9, np.float32)
    )
    with pytest.raises(ExportError, match="difference"):
        export(source, tmp_path, ["onnx"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny_golden_input.npy", "tiny_golden_output.npy"]


def test_weights_that_give_nan_are_not_deployed(source, tmp_path):
    import mindspore as ms

    from glorext.models import save_checkpoint

    net = source.create()
    next(net.get_parameters()).set_data(ms.Tensor(np.full((16, 3, 7, 7), np.nan, np.float32)))
    save_checkpoint(net, tmp_path / "nan.ckpt")
    with pytest.raises(ExportError, match="NaN"):
        export(dataclasses.replace(source, checkpoint=tmp_path / "nan.ckpt"), tmp_path / "out")


def test_the_open_batch_of_an_onnx_file_is_open_at_both_ends(exported):
    onnx = pytest.importorskip("onnx", reason="reads the file by its own means")
    model = onnx.load(exported / "tiny.onnx")
    onnx.checker.check_model(model)
    ((first, *rest),) = (
        [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim]
        for output in model.graph.output
    )
    assert first == model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N" and rest == [10]


@pytest.fixture(scope="module")
def published(source, tmp_path_factory):
    """A checkpoint as it was published, nothing beside it that names its network, exported with published flags."""
    import os

    from glorext.models import create, save_checkpoint
    from glorext.runtime.cli import run

    folder = tmp_path_factory.mktemp("published")
    save_checkpoint(create("resnext50", num_classes=7), folder / "net.ckpt")
    here = os.getcwd()
    os.chdir(folder)
    try:
        status = run(
            "export",
            lambda: main(
                [
                    "--device_target",
                    "CPU",
                    "--ckpt_file",
                    "net.ckpt",
                    "--file_format",
                    "MINDIR",
                    "--file_name",
                    "resnext50",
                    "--batch_size",
                    "1",
                    "--width",
                    "224",
                    "--height",
                    "224",
                ]
            ),
        )
    finally:
        os.chdir(here)
    assert status == 0
    return folder


def test_published_flags_export_a_published_checkpoint(published):
    artifact = read_artifact(published / "resnext50.mindir")
    assert artifact.input == Port("image", "float32", (1, 3, 224, 224), "NCHW", "normalized")
    assert artifact.output == Port("logits", "float32", (1, 7)) and artifact.labels == ()


def test_a_size_that_the_network_was_not_trained_for_is_refused(published, tmp_path):
    with pytest.raises(UsageError, match="--width"):
        main(["--ckpt_file", str(published / "net.ckpt"), "--out", str(tmp_path), "--width", "32"])
    with pytest.raises(UsageError, match="one model"):
        main(["--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_an_onnx_file_says_itself_what_it_needs_and_answers(source, exported):
    found = metadata(exported / "tiny.onnx")
    contract = read_artifact(exported / "tiny.onnx")
    assert json.loads(found["labels"]) == list(source.labels) and len(source.labels) == 10
    assert json.loads(found["preprocessing"]) == source.input_spec.to_dict()
    assert json.loads(found["input"])["shape"] == [-1, 3, 32, 32] and found["output"] == "logits"
    assert json.loads(found["versions"]) == contract.versions
    assert found["weights_sha256"] == contract.model.weights_sha256 and found["name"] == source.name


def test_onnxruntime_reads_the_metadata_that_was_written(exported):
    onnxruntime = pytest.importorskip("onnxruntime", reason="reads the file by its own means")
    session = onnxruntime.InferenceSession(str(exported / "tiny.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == metadata(exported / "tiny.onnx")


def test_the_metadata_names_a_license_and_unusual_labels_as_they_are_and_leaves_out_what_is_unknown(source, tmp_path):
    labels = ('cr\u00e8me, "br\u00fbl\u00e9e"', "\u732b", *source.labels[2:])
    licensed = dataclasses.replace(
        source, license="CC-BY-4.0", labels=labels, labels_sha256=labels_digest(labels), version=None
    )
    export(licensed, tmp_path, ["onnx"])
    found = metadata(tmp_path / "tiny.onnx")
    assert found["license"] == "CC-BY-4.0" and tuple(json.loads(found["labels"])) == labels
    assert "version" not in found
    export(dataclasses.replace(source, license=None), tmp_path, ["onnx"])
    assert "license" not in metadata(tmp_path / "tiny.onnx")


def test_the_fields_of_an_onnx_file_rise_as_openvino_wants_them(exported):
    data, at, fields = (exported / "tiny.onnx").read_bytes(), 0, []

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte, at = data[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        fields.append(key >> 3)
        assert key & 7 in (0, 2), "the top of an ONNX file has numbers and bytes only"
        length = number()
        at += length if key & 7 == 2 else 0
    assert fields == sorted(fields) and {1, 7, 8, 14} <= set(fields)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_another_opset_computes_the_same_and_says_the_same_of_itself(source, exported, tmp_path, opset):
    onnx = pytest.importorskip("onnx", reason="rewrites the operators")
    export(source, tmp_path, ["onnx"], opset=opset)
    model, before = onnx.load(tmp_path / "tiny.onnx"), onnx.load(exported / "tiny.onnx")
    assert (before.opset_import[0].version, model.opset_import[0].version) == (11, opset)
    assert model.ir_version >= onnx.helper.find_min_ir_version_for(model.opset_import)
    assert metadata(tmp_path / "tiny.onnx") == metadata(exported / "tiny.onnx")
    inputs = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    one, other = (run_exported("onnx", folder / "tiny.onnx", inputs) for folder in (exported, tmp_path))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("opset", [5, 99])
def test_an_opset_that_cannot_be_is_refused_and_leaves_nothing(source, tmp_path, opset):
    pytest.importorskip("onnx", reason="rewrites the operators")
    with pytest.raises(ExportError, match=f"opset {opset} to have.*MindSpore writes opset 11; later ones"):
        export(source, tmp_path, ["onnx"], opset=opset)
    assert not (tmp_path / "tiny.onnx").exists()


def test_an_opset_is_for_onnx_alone():
    with pytest.raises(UsageError, match=r"ONNX among the formats, found mindir in --opset"):
        main(["absent.ckpt", "--format", "mindir", "--opset", "17"])
