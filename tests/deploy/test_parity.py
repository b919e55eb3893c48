"""Each hop is held against the checkpoint, a hop that could not run says why, and float16's culprit is named."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from glorext.deploy.contract.closeness import EXPORTED, ON_PICTURES, share_apart
from glorext.deploy.parity import hops as hops_module
from glorext.deploy.parity import measure as module
from glorext.deploy.parity import onnx_layers
from glorext.deploy.parity.float16_layers import Departure, bisect, show, worth_keeping
from glorext.deploy.parity.hops import load_inputs
from glorext.deploy.parity.measure import main, measure, parity, read_parity
from glorext.deploy.runners.mindspore import run_network
from glorext.runtime import AccuracyError, DataError, ExportError, InferenceError, SetupError

from .made import trained

NAMES = ("a", "b", "c")
LOGITS = np.array([[1, 0, 0], [0, 0.5, 0.45], [0, 0, 1]], np.float32)


def moved(row, column, by):
    found = LOGITS.copy()
    found[row, column] += by
    return found


def test_equal_logits_pass():
    hop = measure("x", LOGITS, LOGITS, NAMES, 0.1, EXPORTED)
    assert (hop.state, hop.max_difference, hop.mean_difference, hop.flips) == ("pass", 0, 0, ())
    assert hop.cosine == pytest.approx(1)


def test_differences_by_hand():
    hop = measure("x", LOGITS, moved(0, 1, 0.9), NAMES, 0.1, None)
    assert hop.max_difference == pytest.approx(0.9) and hop.mean_difference == pytest.approx(0.1)
    assert hop.cosine == pytest.approx(1 / np.sqrt(1.81)) and hop.flips == () and hop.state == "pass"


def test_a_flip_between_two_close_answers_is_not_a_clear_one():
    hop = measure("x", LOGITS, moved(1, 2, 0.06), NAMES, 0.1, None)
    assert hop.flips == ("b",) and hop.clear_flips == ()
    clear = measure("x", LOGITS, moved(0, 1, 2), NAMES, 0.1, None)
    assert clear.clear_flips == ({"input": "a", "margin": 1},)


@pytest.mark.parametrize(
    "found, reason",
    [
        (moved(0, 0, 2 * EXPORTED), "logits 2.0e-04 apart, at most 1.0e-04 allowed"),
        (moved(0, 0, np.nan), "NaN"),
        (moved(0, 0, -np.inf), "Inf"),
        (LOGITS[:2], "shape"),
    ],
)
def test_a_hop_that_departs_fails_and_says_how(found, reason):
    hop = measure("x", LOGITS, found, NAMES, 0.1, EXPORTED)
    assert hop.state == "FAIL" and reason in hop.reason


def test_the_limit_grows_with_the_logits_but_never_falls_below_that_of_order_one():
    assert measure("x", 50 * LOGITS, 50 * LOGITS, NAMES, 0.1, EXPORTED).tolerance == pytest.approx(50 * EXPORTED)
    assert measure("x", LOGITS / 9, LOGITS / 9, NAMES, 0.1, ON_PICTURES).tolerance == ON_PICTURES


def test_a_float16_hop_may_depart_but_not_overflow():
    assert measure("x", LOGITS, moved(0, 0, 0.5), NAMES, 0.1, None).state == "pass"
    assert measure("x", LOGITS, moved(0, 0, np.inf), NAMES, 0.1, None).state == "FAIL"


def hops_of(monkeypatch, source, *runs):
    def raising(error):
        def run():
            raise error

        return run

    inputs = load_inputs(source, None, 1)
    monkeypatch.setattr(
        module,
        "all_hops",
        lambda source, folder, inputs, onnx: [
            (
                f"hop {number}",
                EXPORTED,
                raising(run) if isinstance(run, Exception) else lambda run=run: run(inputs.images),
            )
            for number, run in enumerate(runs)
        ],
    )
    return parity(source, inputs)


def test_what_is_missing_is_not_measured_and_what_breaks_fails(source, monkeypatch):
    found = hops_of(
        monkeypatch,
        source,
        SetupError("no compiler"),
        InferenceError("it crashed"),
        lambda inputs: run_network(source.create(), inputs),
    )
    assert [(hop.state, hop.reason) for hop in found.hops] == [
        ("not measured", "no compiler."),
        ("FAIL", "it crashed."),
        ("pass", ""),
    ]
    assert not found.passed


def test_nothing_compared_is_an_error(source, monkeypatch):
    with pytest.raises(AccuracyError, match="no hop could be compared.*no compiler"):
        hops_of(monkeypatch, source, SetupError("no compiler"), SetupError("no card"))


def test_pictures_are_chosen_evenly_and_preprocessed_as_for_evaluation(source, pictures):
    from glorext.models.preprocess import preprocess

    found = load_inputs(source, pictures, 4)
    assert found.names == ("0/00.jpg", "3/13.png", "6/26.png", "9/39.jpg") and found.images.shape == (4, 3, 32, 32)
    np.testing.assert_array_equal(found.images[1], preprocess(found.files[1], source.input_spec))
    with pytest.raises(DataError, match="pictures"):
        load_inputs(source, pictures / "nowhere", 4)


def test_a_hidden_file_is_no_picture(source, tmp_path):
    for name in ("seen.png", "._seen.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / name, "PNG")
    assert load_inputs(source, tmp_path).names == ("seen.png",)


@pytest.mark.native
def test_every_hop_of_a_sound_model(source, native, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "chosen_model", lambda options: source)
    assert main(["tiny", "--data", str(pictures), "--count", "12", "--out", str(tmp_path / "p.json"), "--bisect"]) == 0
    out = capsys.readouterr().out
    values = json.loads((tmp_path / "p.json").read_text())
    hops = {hop["name"]: hop for hop in values["hops"]}
    assert list(hops) == [
        "float16 weights",
        "MINDIR in MindSpore",
        "ONNX in onnxruntime",
        "MindSpore Lite .mindir",
        "MindSpore Lite .ms",
        "C++ from the picture files",
        "Ascend card",
    ]
    assert hops["float16 weights"]["max_difference"] > hops["MINDIR in MindSpore"]["max_difference"]
    assert hops["MindSpore Lite .ms"]["state"] == "pass" and len(values["inputs"]) == 12
    assert hops["Ascend card"]["state"] == "not measured" and "libascendcl" in out
    assert "the first 2 inputs with every cell in float16" in out and "ONNX, the first 2 inputs:" in out
    assert values["float16_layers"]["inputs"] == values["onnx_layers"]["inputs"] == 2
    assert len(values["float16_layers"]["departures"]) > 40
    assert hops["C++ from the picture files"]["state"] == "pass"
    assert values["onnx_layers"]["first"] is None and len(values["onnx_layers"]["layers"]) > 20
    assert [hop.state for hop in read_parity(tmp_path / "p.json", source).hops].count("pass") == 6
    with pytest.raises(DataError, match="another weights"):
        read_parity(tmp_path / "p.json", dataclasses.replace(source, weights_sha256="0" * 64))


@pytest.mark.native
def test_a_fault_in_preprocessing_shows_in_the_cpp_hop_alone(source, native, pictures, monkeypatch, tmp_path):
    # The C++ program reads its preprocessing from the contract; another mean there is a fault before the model.
    monkeypatch.setattr(hops_module, "convert", with_another_mean(hops_module.convert))
    inputs = load_inputs(source, pictures, 4)
    folder = tmp_path / "w"
    folder.mkdir()
    hops = {name: (tolerance, run) for name, tolerance, run in hops_module.all_hops(source, folder, inputs)}
    reference = run_network(source.create(), inputs.images)

    def state(name):
        return measure(name, reference, hops[name][1](), inputs.names, 0.1, hops[name][0]).state

    assert state("MindSpore Lite .mindir") == "pass" and state("C++ from the picture files") == "FAIL"


def with_another_mean(convert):
    def changed(*arguments):
        artifacts = convert(*arguments)
        path = arguments[1] / f"{artifacts[0].file}.json"
        values = json.loads(path.read_text())
        values["model"]["input_spec"]["mean"][0] += 0.2
        path.write_text(json.dumps(values))
        return artifacts

    return changed


def test_without_pictures_the_cpp_hop_is_not_measured(source, tmp_path):
    runs = {name: run for name, _, run in hops_module.all_hops(source, tmp_path, load_inputs(source, None))}
    with pytest.raises(SetupError, match="--data"):
        runs["C++ from the picture files"]()


def damaged(exported, folder, name):
    """The exported ONNX file with one filter of `name` moved, as a faulty writer would leave it; its contract anew."""
    import onnx
    from onnx import numpy_helper

    from glorext.deploy.contract.artifact import read_artifact, write_artifact

    model = onnx.load(str(exported / "tiny.onnx"))
    weight = next(weight for weight in model.graph.initializer if weight.name == name)
    values = numpy_helper.to_array(weight).copy()
    values[0] += 3 * np.abs(values).max()
    weight.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, str(folder / "tiny.onnx"))
    contract = read_artifact(exported / "tiny.onnx")
    kept = {
        key: getattr(contract, key) for key in ("format", "model", "source", "input", "output", "labels", "versions")
    }
    write_artifact(folder / "tiny.onnx", **kept)
    return folder / "tiny.onnx"


@pytest.mark.parametrize(
    "weight, cell",
    [
        ("backbone.layer2.0.conv2.weight", "backbone.layer2.0.conv2"),
        ("backbone.layer3.0.bn1.gamma", "backbone.layer3.0.bn1"),
        ("head.fc.bias", "head.fc"),
    ],
)
def test_a_fault_in_one_layer_of_the_onnx_file_is_named(source, exported, tmp_path, weight, cell):
    pytest.importorskip("onnx")
    path = damaged(exported, tmp_path, weight)
    found = onnx_layers.bisect(source, path, load_inputs(source, None).images)
    assert (found.first, found.before) == (cell, None) and cell in found.culprits
    order = [layer.cell for layer in found.layers]
    assert all(layer.output < 1e-4 for layer in found.layers[: order.index(cell)])
    assert f"departs is {cell}" in onnx_layers.describe(found)


def test_a_fault_between_two_layers_is_placed_between_them(source, exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(exported / "tiny.onnx"))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Neg"
    onnx.save(model, str(tmp_path / "neg.onnx"))
    found = onnx_layers.bisect(source, tmp_path / "neg.onnx", load_inputs(source, None).images)
    assert found.before == "backbone.bn" and found.first == "backbone.layer1.0.conv1"
    assert "between backbone.bn and it" in onnx_layers.describe(found)


def test_the_layers_of_glore_are_followed_too(tmp_path):
    pytest.importorskip("onnx")
    from glorext.deploy.export.exporter import export

    glore = glore_source(tmp_path)
    export(glore, tmp_path, ["onnx"])
    inputs = load_inputs(glore, None).images
    found = onnx_layers.bisect(glore, tmp_path / f"{glore.name}.onnx", inputs)
    assert found.first is None and any("glore" in layer.cell or "gcn" in layer.cell for layer in found.layers)
    assert bisect(glore, inputs).logits < 0.1


def glore_source(folder):
    import mindspore as ms

    from glorext.models import InputSpec, create, save_checkpoint, weights_digest

    arguments = {"layers": (1, 1, 2, 1), "units": ((), (), (1,), ()), "stem_width": 8}
    net = create("glore_res50", num_classes=10, **arguments)
    generator = np.random.default_rng(3)
    for parameter in net.get_parameters():
        value = parameter.asnumpy() + generator.normal(0, 0.1, parameter.shape)
        parameter.set_data(ms.Tensor((np.abs(value) + 0.3 if "variance" in parameter.name else value).astype("f4")))
    save_checkpoint(net, folder / "glore.ckpt")
    return trained(
        folder / "glore.ckpt",
        name="glore",
        network="glore_res50",
        network_args=arguments,
        input_spec=InputSpec(size=32, resize=32),
        weights_sha256=weights_digest(folder / "glore.ckpt"),
    )


def test_a_file_of_other_weights_is_not_looked_at(source, exported):
    with pytest.raises(AccuracyError, match="another weights"):
        hops_module.onnx_file(dataclasses.replace(source, weights_sha256="0" * 64), exported, exported / "tiny.onnx")


def test_a_weight_beyond_float16_fails_that_hop(source, tmp_path):
    import mindspore as ms

    net = source.create()
    weight = next(parameter for parameter in net.get_parameters() if parameter.ndim > 1)
    weight.set_data(weight * ms.Tensor(1e6, ms.float32))
    broken = SimpleNamespace(create=lambda: net, input_spec=source.input_spec)
    hops = {name: run for name, _, run in hops_module.all_hops(broken, tmp_path, load_inputs(source, None))}
    with pytest.raises(ExportError, match=f"weights up to 65504.*{weight.name}"):
        hops["float16 weights"]()


def test_share_is_of_the_largest_value_and_none_beyond_the_range():
    assert share_apart(np.array([4.0, 1]), np.array([4.0, 0])) == 0.25
    assert share_apart(np.array([np.inf]), np.array([4.0])) is None


def test_only_the_innermost_culprits_are_worth_keeping():
    found = [
        Departure("stage.0.conv", "Conv2d", None, None),
        Departure("stage.0", "Block", 0.5, 0.5),
        Departure("stage.1.sum", "Sum", 0.5, 0.001),
        Departure("stage.1", "Block", 0.5, 0.5),
    ]
    assert worth_keeping(found, 0.01) == ("stage.0.conv", "stage.1")


def test_the_layer_that_overflows_float16_is_named_and_keeping_it_heals_the_network(source, tmp_path, capsys):
    import mindspore as ms

    from glorext.models import save_checkpoint

    net = source.create()
    parameters = {parameter.name: parameter for parameter in net.get_parameters()}
    weight, variance = (parameters[f"backbone.layer2.0.{name}"] for name in ("conv2.weight", "bn2.moving_variance"))
    # Outputs around 1e7; the norm after it brings them back, so that float32 never notices.
    weight.set_data(weight * ms.Tensor(1e7, ms.float32))
    variance.set_data(variance * ms.Tensor(1e14, ms.float32))
    save_checkpoint(net, tmp_path / "big.ckpt")
    big = dataclasses.replace(source, name="big", checkpoint=tmp_path / "big.ckpt", weights_sha256="0" * 64)
    found = bisect(big, load_inputs(source, None).images)
    assert (found.first.cell, found.first.kind, found.first.own) == ("backbone.layer2.0.conv2", "Conv2d", None)
    assert found.keep == ("backbone.layer2.0.conv2", "backbone.layer2.0.bn2")
    assert found.logits_kept < 0.005 < found.logits
    show(found)
    out = capsys.readouterr().out
    assert "backbone.layer2.0.conv2 (Conv2d), by itself beyond float16's range" in out
    assert "--precision_mode preferred_fp32 --keep_fp32 backbone.layer2.0.conv2,backbone.layer2.0.bn2\n" in out
