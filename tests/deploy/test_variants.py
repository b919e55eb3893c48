"""Every variant of a network, exported and converted, computes what the network computes on the same pictures."""

import dataclasses
import json

import numpy as np
import pytest

from glorext.deploy.contract.artifact import Port, read_artifact
from glorext.deploy.contract.golden import golden_pixels
from glorext.deploy.convert.converter import convert, convert_routes
from glorext.deploy.export.exporter import export, run_exported
from glorext.deploy.export.formats import Variant
from glorext.deploy.runners.lite import infer, run_tensor
from glorext.models.preprocess import normalize, preprocess
from glorext.runtime import DataError, ExportError, IntegrityError

BYTES = Variant(pixels="uint8", softmax=True)
LAST = Variant(pixels="uint8", layout="NHWC")
HALF = Variant("fp16", pixels="float32")
VARIANTS = {"tiny_uint8_softmax": BYTES, "tiny_uint8_nhwc": LAST, "tiny_float32_fp16": HALF}


def softmax(logits):
    raised = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def folder(source, native, tmp_path_factory):
    """All variants as MINDIR and ONNX, and by both routes converted, in one folder."""
    folder = tmp_path_factory.mktemp("variants")
    for name, variant in VARIANTS.items():
        artifacts = export(source, folder, variant=variant)
        assert [artifact.file for artifact in artifacts] == [f"{name}.mindir", f"{name}.onnx"]
        convert_routes([folder / artifact.file for artifact in artifacts], folder, ["mindir", "ms"], native.programs)
    return folder


@pytest.fixture(scope="module")
def pixels():
    """Pictures of four colored fields each: noise would look the same to a network that averages it away."""
    return np.random.default_rng(5).integers(0, 256, (3, 2, 2, 3)).astype(np.uint8).repeat(16, 1).repeat(16, 2)


def wanted(source, pixels, variant):
    """What the network gives for normalized `pixels`, by the reference's normalization and NumPy's softmax."""
    import mindspore as ms

    logits = source.create()(ms.Tensor(np.stack([normalize(one, source.input_spec) for one in pixels]))).asnumpy()
    assert np.ptp(logits, axis=0).max() > 0.02, "the pictures must differ"
    return softmax(logits) if variant.softmax else logits


def taken(pixels, variant):
    """`pixels` as the variant takes them, NCHW."""
    return pixels.transpose(0, 3, 1, 2).astype(variant.pixels)


FILES = [(name, kind) for name in VARIANTS for kind in ("_lite.mindir", ".ms", "_onnx_lite.mindir", "_onnx.ms")]


@pytest.mark.native
@pytest.mark.parametrize("name, ending", FILES, ids="".join)
def test_converted_by_either_route_a_variant_computes_the_networks_answer(folder, source, native, pixels, name, ending):
    variant = VARIANTS[name]
    found = run_tensor(folder / f"{name}{ending}", taken(pixels, variant), native.programs)
    assert np.abs(found - wanted(source, pixels, variant)).max() < (1e-3 if variant == HALF else 1e-5)


@pytest.mark.parametrize("kind", ["mindir", "onnx"])
@pytest.mark.parametrize("name", VARIANTS)
def test_exported_a_variant_computes_the_networks_answer(folder, source, pixels, name, kind):
    variant = VARIANTS[name]
    found = run_exported(kind, folder / f"{name}.{kind}", taken(pixels, variant), variant.layout)
    assert np.abs(found - wanted(source, pixels, variant)).max() < (1e-3 if variant == HALF else 1e-5)


@pytest.mark.native
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("ending", ["_lite.mindir", ".ms"])
def test_pictures_are_normalized_exactly_once(folder, source, native, pictures, tmp_path, name, ending):
    import mindspore as ms

    results = infer(folder / f"{name}{ending}", pictures, tmp_path / "results", programs=native.programs)
    inputs = np.stack([preprocess(pictures / picture["path"], source.input_spec) for picture in results.pictures])
    logits = source.create()(ms.Tensor(inputs)).asnumpy()
    limit = 1e-3 if VARIANTS[name] == HALF else 1e-5
    assert np.abs(results.logits - (softmax(logits) if VARIANTS[name].softmax else logits)).max() < limit


@pytest.mark.native
def test_probabilities_are_validated_against_probabilities(folder, source, native, pictures, by_mindspore, tmp_path):
    from glorext.deploy.validate.verdict import validate

    results = infer(folder / "tiny_uint8_softmax.ms", pictures, tmp_path / "results", programs=native.programs)
    assert results.artifact["output"] == "probabilities"
    validation = validate(source, results, by_mindspore)
    assert validation.verdict == "pass" and validation.mindspore.max_difference < 1e-5, validation.checks


def test_the_contract_says_what_the_model_takes_and_gives(folder):
    artifact = read_artifact(folder / "tiny_uint8_softmax.onnx")
    assert artifact.input == Port("image", "uint8", (-1, 3, 32, 32), "NCHW", "pixels")
    assert artifact.output == Port("probabilities", "float32", (-1, 10)) and artifact.name == "tiny"
    assert read_artifact(folder / "tiny_uint8_nhwc.mindir").input.shape == (-1, 32, 32, 3)


@pytest.mark.native
@pytest.mark.parametrize("ending", ["_lite.mindir", ".ms", "_onnx_lite.mindir", "_onnx.ms"])
def test_a_converted_models_contract_has_the_layout_of_the_built_model(folder, native, ending):
    import subprocess

    model = folder / f"tiny_uint8_nhwc{ending}"
    told = subprocess.run(
        [str(native.infer), "--model", str(model), "--inspect"], capture_output=True, text=True, check=True
    )
    assert list(read_artifact(model).input.shape) == json.loads(told.stdout)["inputs"][0]["shape"]


def test_half_precision_weights_halve_the_exported_files_and_say_what_that_costs(folder, exported):
    for kind in ("mindir", "onnx"):
        artifact = read_artifact(folder / f"tiny_float32_fp16.{kind}")
        assert (
            artifact.size < 0.62 * read_artifact(exported / f"tiny.{kind}").size and artifact.weights_dtype == "float16"
        )
        assert 0 < artifact.deviation["max_difference"] < 1e-2 and 0.99999 < artifact.deviation["cosine"] <= 1.000001


@pytest.mark.native
@pytest.mark.parametrize("ending", ["_lite.mindir", ".ms", "_onnx.ms"])
def test_half_precision_weights_stay_halved_when_converted(folder, exported, native, tmp_path, ending):
    (full,) = convert(exported / "tiny.onnx", tmp_path, ["ms"], native.programs)
    artifact = read_artifact(folder / f"tiny_float32_fp16{ending}")
    assert artifact.size < 0.62 * full.size and artifact.deviation["max_difference"] > 0


def test_weights_beyond_half_precision_are_refused(source, tmp_path):
    import mindspore as ms

    from glorext.models import save_checkpoint

    net = source.create()
    weight = next(net.get_parameters())
    weight.set_data(
        ms.Tensor(np.where(np.arange(weight.size).reshape(weight.shape) == 5, 1e5, weight.asnumpy()).astype("f4"))
    )
    save_checkpoint(net, tmp_path / "big.ckpt")
    with pytest.raises(ExportError, match="up to 65504.*found 1e.05"):
        export(dataclasses.replace(source, checkpoint=tmp_path / "big.ckpt"), tmp_path / "out", variant=HALF)


def test_variants_do_not_overwrite_each_others_golden_files(folder):
    inputs = {name: np.load(folder / f"{name}_golden_input.npy") for name in VARIANTS}
    assert [value.dtype for value in inputs.values()] == [np.uint8, np.uint8, np.float32]
    assert (inputs["tiny_uint8_nhwc"] == golden_pixels(32).transpose(0, 3, 1, 2)).all()
    assert (inputs["tiny_float32_fp16"] == inputs["tiny_uint8_nhwc"]).all()


def test_a_contract_that_was_exchanged_is_found(folder, tmp_path):
    model, contract = tmp_path / "tiny_float32_fp16.onnx", tmp_path / "tiny_float32_fp16.onnx.json"
    model.write_bytes((folder / model.name).read_bytes())
    other = (folder / "tiny_uint8_nhwc.onnx.json").read_text()
    contract.write_text(other)
    with pytest.raises(DataError, match="found that of tiny_uint8_nhwc.onnx"):
        read_artifact(model)
    contract.write_text(other.replace("tiny_uint8_nhwc.onnx", model.name))
    with pytest.raises(IntegrityError):
        read_artifact(model)
