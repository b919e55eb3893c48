"""What the converter and atc are told for each card, and which combinations are refused with which reason."""

import configparser
import re
import subprocess

import pytest

from glorext.deploy.contract.artifact import Artifact, Port
from glorext.deploy.convert.ascend import AIPP_FILE, CONFIG_FILE, PRECISION, AscendOptions, plan, write_files
from glorext.runtime import UsageError
from glorext.runtime.chips import FAMILIES

from .made import identity


def model(batch=-1, dtype="float32", kind="mindir", values="", layout="NCHW"):
    shape = (batch, 3, 224, 224) if layout == "NCHW" else (batch, 224, 224, 3)
    return Artifact(
        "m.mindir",
        kind,
        identity(num_classes=1000),
        1,
        "0" * 64,
        None,
        Port("image", dtype, shape, layout, values),
        Port("logits", "float32", (batch, 1000)),
        (),
    )


def config(found):
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(found.files[CONFIG_FILE])
    return {name: dict(parser[name]) for name in parser.sections()}


def test_a_dynamic_batch_for_the_310():
    found = plan(model(), AscendOptions("ascend310", (1, 4, 8)), "m_310")
    assert config(found) == {
        "ascend_context": {
            "input_format": "NCHW",
            "precision_mode": "enforce_fp16",
            "dynamic_dims": "[1],[4],[8]",
            "input_shape": "image:[-1,3,224,224]",
        },
        "acl_init_options": {"ge.socVersion": "Ascend310"},
    }
    assert found.atc == [
        "atc",
        "--framework=1",
        "--model=m.mindir",
        "--output=m_310",
        "--soc_version=Ascend310",
        "--input_format=NCHW",
        "--input_shape=image:-1,3,224,224",
        "--precision_mode=force_fp16",
        "--dynamic_batch_size=1,4,8",
    ]
    assert found.input == model().input


def test_a_fixed_batch_is_left_to_the_model():
    found = plan(model(batch=4), AscendOptions("ascend910"), "m")
    assert "input_shape" not in config(found)["ascend_context"]
    assert "--input_shape=image:4,3,224,224" in found.atc


def test_the_310p_goes_by_two_names_and_the_310b_by_one():
    assert config(plan(model(1), AscendOptions("ascend310p"), "m"))["acl_init_options"] == {
        "ge.socVersion": "Ascend710"
    }
    found = plan(model(1), AscendOptions("ascend310b"), "m")
    assert "acl_init_options" not in config(found) and "--soc_version=Ascend310B1" in found.atc


def test_aipp_makes_the_input_uint8_and_is_named_by_its_full_path(tmp_path):
    found = plan(model(1), AscendOptions("ascend310", aipp=True), "m")
    assert found.input == Port("image", "uint8", (1, 224, 224, 3), "NHWC", "pixels")
    assert f"--insert_op_conf={AIPP_FILE}" in found.atc
    text = write_files(found, tmp_path).read_text()
    assert f"insert_op_config_file_path={tmp_path / AIPP_FILE}\n" in text
    assert (tmp_path / AIPP_FILE).read_text().startswith("aipp_op {")


@pytest.mark.parametrize("mode", PRECISION)
def test_every_precision_mode_has_its_atc_name(mode):
    found = plan(model(1), AscendOptions("ascend310", precision_mode=mode), "m")
    assert config(found)["ascend_context"]["precision_mode"] == mode
    assert f"--precision_mode={PRECISION[mode]}" in found.atc


@pytest.mark.parametrize(
    "artifact, options, reason",
    [
        (model(), AscendOptions("ascend310"), "only the sizes it was built for"),
        (model(1), AscendOptions("ascend310", (1, 4)), "fixed batch 1"),
        (model(), AscendOptions("ascend310", (1, 4), aipp=True), "excludes --dynamic_dims"),
        (model(1, "uint8"), AscendOptions("ascend310", aipp=True), "normalize again"),
        (model(1, values="pixels"), AscendOptions("ascend310", aipp=True), "normalize again"),
        (model(1, "uint8"), AscendOptions("ascend310"), "uint8 only through AIPP"),
        (model(1, layout="NHWC"), AscendOptions("ascend310"), "NCHW only"),
        (model(1), AscendOptions("ascend310", keep_fp32=("head.fc",)), "keep list"),
        (model(1), AscendOptions("ascend610"), "ascend610"),
        (model(1), AscendOptions("ascend310", precision_mode="fast"), "--precision_mode"),
        (model(), AscendOptions("ascend310", (4, 1)), "rising"),
        (model(), AscendOptions("ascend310", (0, 1)), "from 1 to 2048"),
        (model(), AscendOptions("ascend310", (1, 4096)), "from 1 to 2048"),
        (model(), AscendOptions("ascend310", tuple(range(1, 102))), "at most 100"),
        (model(1, kind="ms"), AscendOptions("ascend310"), "m.mindir"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(artifact, options, reason):
    with pytest.raises(UsageError, match=reason):
        plan(artifact, options, "m")


@pytest.mark.native
def test_the_targets_are_the_devices_of_the_inference_program(native):
    done = subprocess.run([str(native.infer), "--model", "m.ms", "--device", "?"], capture_output=True, text=True)
    assert done.returncode == 2 and re.findall(r"[a-z]+\d+[a-z]*", done.stderr.split(";")[0]) == list(FAMILIES)
    told = subprocess.run([str(native.infer), "--help"], capture_output=True, text=True).stdout
    assert f"cpu (default), {', '.join(FAMILIES)};" in told


def test_a_dry_run_prints_the_plan_and_touches_nothing(exported, tmp_path, capsys, monkeypatch):
    from glorext.deploy.convert.command import main

    monkeypatch.chdir(tmp_path)
    assert main([str(exported / "tiny.mindir"), "--target", "ascend310", "--dynamic_dims", "1,4", "--dry_run"]) == 0
    told = capsys.readouterr().out
    for line in (
        "[ascend_context]",
        "dynamic_dims=[1],[4]",
        "input_shape=image:[-1,3,32,32]",
        "ge.socVersion=Ascend310",
        "--dynamic_batch_size=1,4",
        "not measured",
    ):
        assert line in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--target", "ascend310", "--dry_run"], "only the sizes"),
        ([], "--out"),
        (["--dry_run", "--format", "om"], "--format"),
        (["--target", "ascend310", "--dynamic_dims", "1,x", "--dry_run"], "numbers"),
        (["--target", "ascend310", "--dynamic_dims", "1", "--keep_fp32", "head.fc", "--dry_run"], "keep list"),
    ],
)
def test_the_command_refuses_in_the_same_words(exported, words, reason):
    from glorext.deploy.convert.command import main

    with pytest.raises(UsageError, match=reason):
        main([str(exported / "tiny.mindir"), *words])


def test_without_cann_nothing_is_converted(exported, tmp_path):
    import ctypes.util

    from glorext.deploy.convert.converter import convert_for_card
    from glorext.runtime import ConversionError

    if ctypes.util.find_library("ge_compiler"):
        pytest.skip("CANN is installed here")
    with pytest.raises(ConversionError, match="CANN.*libge_compiler"):
        convert_for_card(exported / "tiny.mindir", tmp_path / "out", AscendOptions("ascend310", (1, 4)))
    assert not (tmp_path / "out").exists()
