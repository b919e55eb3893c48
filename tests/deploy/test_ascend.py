"""What the converter and atc are told for each card, and which combinations are refused with which reason."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from glorext.deploy.contract.artifact import Artifact, Port
from glorext.deploy.convert import ascend
from glorext.deploy.convert.ascend import AIPP_FILE, CONFIG_FILE, PRECISION, AscendOptions, atc_text, plan, write_files
from glorext.runtime import UsageError
from glorext.runtime.chips import CHIPS, FAMILIES

from .made import identity


def model(batch=-1, dtype="float32", kind="mindir", values="", layout="NCHW"):
    shape = (batch, 3, 224, 224) if layout == "NCHW" else (batch, 224, 224, 3)
    return Artifact(
        f"m.{kind}",
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
    found = plan(model(kind="onnx"), AscendOptions("ascend310", (1, 4, 8)), "m_310")
    assert config(found) == {
        "ascend_context": {
            "input_format": "NCHW",
            "precision_mode": "enforce_fp16",
            "dynamic_dims": "[1],[4],[8]",
            "input_shape": "image:[-1,3,224,224]",
        }
    }
    assert found.atc == [
        "atc",
        "--framework=5",
        "--model=m.onnx",
        "--output=m_310",
        "--soc_version=Ascend310",
        "--input_format=NCHW",
        "--input_shape=image:-1,3,224,224",
        "--precision_mode=force_fp16",
        "--dynamic_batch_size=1,4,8",
    ]
    assert found.input == model().input


def test_a_fixed_batch_is_left_to_the_model():
    found = plan(model(batch=4, kind="onnx"), AscendOptions("ascend910"), "m")
    assert "input_shape" not in config(found)["ascend_context"]
    assert "--input_shape=image:4,3,224,224" in found.atc


def dry_run(chip):
    """What `convert --dry_run` shows for an ONNX, sizes, AIPP and a keep list, but not the converter's command."""
    card = AscendOptions(chip, (1, 4, 8), "enforce_fp16", True, ("head",))
    found = plan(model(kind="onnx"), card, f"m_{card.target}", ("Gemm_1",))
    return "".join(f"# {name}\n{text}\n" for name, text in found.files.items()) + atc_text(found, card)


@pytest.mark.parametrize("chip", [chip.soc for chip in CHIPS] + list(FAMILIES))
def test_the_plan_for_each_chip_is_what_the_manuals_say(chip):
    recorded = (Path(__file__).parent / "dry_run.txt").read_text()
    common, *sections = recorded.split("\n== ")
    told = dict(section.split(" ==\n", 1) for section in sections)
    assert dry_run(chip) == common.split("\n", 1)[1] + told[chip]


def test_the_configuration_names_no_chip_whatever_the_target():
    for target in (*FAMILIES, "Ascend310P3"):
        found = plan(model(1), AscendOptions(target), "m")
        assert list(config(found)) == ["ascend_context"] and "soc" not in found.files[CONFIG_FILE].lower()


def test_atc_reads_no_mindir():
    found = plan(model(1), AscendOptions("ascend310"), "m")
    assert found.atc == [] and "MINDIR" in atc_text(found, AscendOptions("ascend310"))


def test_atc_is_not_called_before_the_exact_chip_is_named(tmp_path):
    (tmp_path / "atc").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "atc").chmod(0o755)
    card = AscendOptions("ascend310p")
    (tmp_path / "atc.sh").write_text(atc_text(plan(model(1, kind="onnx"), card, "m"), card))

    def call(*words):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(["sh", "atc.sh", *words], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert call().returncode and "exact name of the chip" in call().stderr
    assert "--soc_version=Ascend310P1 " in call("Ascend310P1").stdout


def test_the_chip_that_is_here_is_taken_for_its_family(monkeypatch):
    here = {"ascend310p": "Ascend310P1"}
    monkeypatch.setattr(ascend, "chip_here", here.get)
    assert ascend.for_chip_here(AscendOptions("ascend310p")).chip == "Ascend310P1"
    assert ascend.for_chip_here(AscendOptions("Ascend310P3")).chip == "Ascend310P3"
    assert ascend.for_chip_here(AscendOptions("ascend910")).chip is None


def test_aipp_and_prepared_sizes_go_together():
    found = plan(model(), AscendOptions("ascend310", (1, 4), aipp=True), "m")
    assert found.input == Port("image", "uint8", (-1, 224, 224, 3), "NHWC", "pixels")
    context = config(found)["ascend_context"]
    assert context["dynamic_dims"] == "[1],[4]" and context["insert_op_config_file_path"] == AIPP_FILE


def test_aipp_makes_the_input_uint8_and_is_named_by_its_full_path(tmp_path):
    found = plan(model(1, kind="onnx"), AscendOptions("ascend310", aipp=True), "m")
    assert found.input == Port("image", "uint8", (1, 224, 224, 3), "NHWC", "pixels")
    assert f"--insert_op_conf={AIPP_FILE}" in found.atc
    text = write_files(found, tmp_path).read_text()
    assert f"insert_op_config_file_path={tmp_path / AIPP_FILE}\n" in text
    assert (tmp_path / AIPP_FILE).read_text().startswith("aipp_op {")


@pytest.mark.parametrize("mode", PRECISION)
def test_every_precision_mode_has_its_atc_name(mode):
    found = plan(model(1, kind="onnx"), AscendOptions("ascend310", precision_mode=mode), "m")
    assert config(found)["ascend_context"]["precision_mode"] == mode
    assert f"--precision_mode={PRECISION[mode]}" in found.atc


@pytest.mark.parametrize(
    "artifact, options, reason",
    [
        (model(), AscendOptions("ascend310"), "only the sizes it was built for"),
        (model(1), AscendOptions("ascend310", (1, 4)), "fixed batch 1"),
        (model(1, "uint8"), AscendOptions("ascend310", aipp=True), "normalize again"),
        (model(1, values="pixels"), AscendOptions("ascend310", aipp=True), "normalize again"),
        (model(1, "uint8"), AscendOptions("ascend310"), "uint8 only through AIPP"),
        (model(1, layout="NHWC"), AscendOptions("ascend310"), "NCHW only"),
        (model(1), AscendOptions("ascend310", keep_fp32=("head.fc",)), "keep list"),
        (model(1), AscendOptions("ascend310", precision_mode="fast"), "--precision_mode"),
        (model(), AscendOptions("ascend310", (4, 1)), "rising"),
        (model(), AscendOptions("ascend310", (0, 1)), "from 1 to 2048"),
        (model(), AscendOptions("ascend310", (1, 4096)), "from 1 to 2048"),
        (model(), AscendOptions("ascend310", tuple(range(1, 102))), "at most 100"),
        (model(1, kind="ms"), AscendOptions("ascend310"), "m.ms"),
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
        "# atc reads no MINDIR",
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
        (["--target", "ascend610", "--dynamic_dims", "1", "--dry_run"], "ascend310p.*ascend610"),
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


def test_a_keep_list_names_nodes_of_the_onnx_file_for_atc(exported, capsys):
    from glorext.deploy.convert.command import main
    from glorext.deploy.export import onnx_file

    words = ["--target", "Ascend310P3", "--dynamic_dims", "1,4", "--keep_fp32", "head.fc", "--dry_run"]
    assert main([str(exported / "tiny.onnx"), *words]) == 0
    told = capsys.readouterr().out
    names = told.split("# keep_dtype.cfg\n")[1].split("\n\n")[0].splitlines()
    nodes = {node.name: node for node in onnx_file.read(exported / "tiny.onnx").graph.node}
    assert names and all(any(one.startswith("head.fc.") for one in nodes[name].input) for name in names)
    assert "--keep_dtype=keep_dtype.cfg" in told and "--soc_version=Ascend310P3" in told
    assert "the converter takes no list" in told and "--precision_mode=force_fp16" in told


def test_a_conversion_that_cannot_take_the_keep_list_is_refused(exported, tmp_path):
    from glorext.deploy.convert.converter import convert_for_card

    card = AscendOptions("ascend310", (1, 4), keep_fp32=("head.fc",))
    with pytest.raises(UsageError, match="no list of layers"):
        convert_for_card(exported / "tiny.onnx", tmp_path / "out", card)


def test_a_model_is_converted_only_for_the_chip_that_proves_it(exported, tmp_path, monkeypatch):
    from glorext.deploy.convert import converter

    monkeypatch.setattr(converter, "chip_here", {"ascend310p": "Ascend310P1"}.get)
    with pytest.raises(UsageError, match="Ascend310P1.*Ascend310P3"):
        converter.convert_for_card(exported / "tiny.onnx", tmp_path / "out", AscendOptions("Ascend310P3", (1, 4)))


def test_two_models_for_a_card_are_one_network_in_different_formats(exported, tmp_path):
    from glorext.deploy.convert.converter import convert_routes_for_card

    with pytest.raises(UsageError, match="one network in different formats"):
        convert_routes_for_card([exported / "tiny.onnx"] * 2, tmp_path, AscendOptions("ascend310", (2, 4)))


@pytest.mark.parametrize(
    "kind, words, told",
    [
        ("onnx", ["--target", "ascend310", "--dynamic_dims", "1"], "# by ONNX, the first route for cards (every"),
        ("mindir", ["--target", "ascend310", "--dynamic_dims", "1"], "# by MINDIR, the second route for cards, with"),
        ("mindir", [], "# by MINDIR, the first route for the CPU (it can be rearranged"),
        ("onnx", [], "# by ONNX, the second route for the CPU, with"),
    ],
)
def test_a_dry_run_says_by_which_route_and_why(exported, native, capsys, kind, words, told):
    from glorext.deploy.convert.command import main

    assert main([str(exported / f"tiny.{kind}"), *words, "--dry_run"]) == 0
    assert told in capsys.readouterr().out


def test_a_dry_run_tells_what_mindspore_lite_answered_or_that_it_was_not_asked(exported, native, capsys, monkeypatch):
    from glorext.deploy.convert import command

    answers = {False: "gets a rewritten copy of tiny.mindir", None: "asked first whether it reads MINDIR"}
    for answer, told in answers.items():
        monkeypatch.setattr(command, "remembered", lambda lite, answer=answer: answer)
        assert command.main([str(exported / "tiny.mindir"), "--dry_run"]) == 0 and told in capsys.readouterr().out
    monkeypatch.setattr(command, "remembered", lambda lite: True)
    assert command.main([str(exported / "tiny.mindir"), "--dry_run"]) == 0
    assert not any(told in capsys.readouterr().out for told in answers.values())
