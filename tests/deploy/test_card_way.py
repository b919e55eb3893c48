"""A model on its way to a card: conversion, inference, validation, parity's hop, and what goes wrong there.

The card is a stand-in for AscendCL, not a card, under MindSpore Lite 2.0.0's own session, and so is the converter
(`ascendcl/`): its models know onnxruntime's answers to the pictures of these tests, and nothing else. So an answer
that is right shows that every row went in and came out in its place, type and layout, and says nothing of a card's
arithmetic.
"""

import _ctypes
import ctypes
import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from glorext.deploy.acceptance import offline
from glorext.deploy.acceptance.worker import Job
from glorext.deploy.contract.artifact import Device, Port, read_artifact
from glorext.deploy.contract.golden import golden_pixels, read_golden
from glorext.deploy.convert import converter, readable
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.convert.converter import convert_for_card
from glorext.deploy.parity import measure
from glorext.deploy.parity.hops import all_hops, load_inputs
from glorext.deploy.runners import ascend_host, programs
from glorext.deploy.runners.common import Request
from glorext.deploy.runners.lite import infer
from glorext.deploy.ship.serving import triton_config
from glorext.deploy.validate import infer as infer_command
from glorext.deploy.validate.backends import prepare
from glorext.deploy.validate.command import validate
from glorext.hub.open_model import BEST
from glorext.models.answers import read_results
from glorext.models.labels import LABELS, write_labels
from glorext.models.preprocess import crop, preprocess
from glorext.models.trained import write_run
from glorext.runtime import ConversionError, InferenceError, SetupError
from glorext.train.data import list_pictures

pytestmark = pytest.mark.native
CONVERTER = Path(__file__).parent / "ascendcl" / "converter.py"
ON = "ascend310p (AscendCL stand-in, not a card)"
SIZES = (1, 4, 8)
LIBRARIES = ("libascendcl.so", "libge_compiler.so")


@pytest.fixture(scope="module")
def machine(native, ascendcl, exported, source, pictures, tmp_path_factory):
    """This process and what it starts on a machine with two cards, for all that the host can tell."""
    pytest.importorskip("onnxruntime", reason="the stand-in's models know its answers")
    folder = tmp_path_factory.mktemp("machine")
    files = [pictures / path for path in list_pictures(pictures, source.labels).paths]
    golden = read_golden(exported / "tiny.onnx").inputs
    np.save(folder / "inputs.npy", np.stack([*golden, *(preprocess(path, source.input_spec) for path in files)]))
    cropped = [crop(path, source.input_spec) for path in files]
    np.save(folder / "pixels.npy", np.stack([*golden_pixels(source.input_spec.size), *cropped]))
    tool = folder / "converter_lite"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CONVERTER}" "$@"\n')
    tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            "LD_LIBRARY_PATH": ascendcl,
            "STAND_IN_CHIP": "Ascend310P3",
            "STAND_IN_CARDS": 2,
            "STAND_IN_INPUTS": folder / "inputs.npy",
            "STAND_IN_PIXELS": folder / "pixels.npy",
            "STAND_IN_EXPORTED": exported / "tiny.mindir",
        }.items():
            patch.setenv(key, str(value))
        lite = dataclasses.replace(native.programs.lite, converter=tool)
        patch.setattr(programs, "locate", lambda: lite)
        # By these names this process finds them from here on.
        for name in LIBRARIES:
            ctypes.CDLL(str(ascendcl / name))
        yield folder
    for name in LIBRARIES:
        unload(name)


def unload(name, times=1000):
    """Other tests have no card: whoever opened the library in this process, it is closed again."""
    for _ in range(times):
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        except OSError:
            return
        _ctypes.dlclose(library._handle)
        _ctypes.dlclose(library._handle)
    raise AssertionError(f"{name} stays in this process")


@pytest.fixture
def executed(machine, tmp_path, monkeypatch):
    """A function: the batches that were executed since it was last called."""
    log = tmp_path / "executed"
    monkeypatch.setenv("STAND_IN_LOG", str(log))

    def call():
        lines = [int(line) for line in log.read_text().split()] if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return call


@pytest.fixture(scope="module")
def prepared(machine, exported, tmp_path_factory):
    """The tiny network, prepared for SIZES."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder / convert_for_card(exported / "tiny.onnx", folder, AscendOptions("ascend310p", SIZES)).file


def test_every_prepared_size_is_proved_and_the_contract_names_sizes_and_chip(
    executed, exported, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("glorext"), "propagate", True)
    caplog.set_level(logging.INFO, "glorext")
    artifact = convert_for_card(exported / "tiny.onnx", tmp_path / "out", AscendOptions("ascend310p", SIZES))
    assert executed() == [1, 4, 8]
    assert artifact.device == Device("ascend310p", "Ascend310P3", SIZES)
    assert artifact == read_artifact(tmp_path / "out" / "tiny_onnx_ascend310p_lite.mindir")
    assert f"on {ON} its logits" in caplog.text, "what it was proved on is called what it is"


@pytest.mark.parametrize("aipp", [False, True])
@pytest.mark.parametrize("size", [1, 8])
def test_a_size_that_computes_something_else_is_not_kept(machine, exported, tmp_path, monkeypatch, size, aipp):
    monkeypatch.setenv("STAND_IN_WRONG", str(size))
    with pytest.raises(ConversionError, match=f"at the batch size {size}.*was not kept"):
        convert_for_card(exported / "tiny.onnx", tmp_path / "out", AscendOptions("ascend310p", SIZES, aipp=aipp))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def both_routes(machine, executed, exported, tmp_path, monkeypatch):
    """A function that converts both exports for the card, MINDIR named first; and what was executed for it."""
    monkeypatch.setattr(readable, "_memory", lambda lite: machine / "memory" / "answer.json")

    def call(**options):
        models = [exported / "tiny.mindir", exported / "tiny.onnx"]
        executed()
        made = converter.convert_routes_for_card(
            models, tmp_path / "out", AscendOptions("ascend310p", SIZES, **options)
        )
        return [artifact.file for artifact in made], executed()

    return call


@pytest.mark.parametrize("aipp", [False, True])
def test_for_a_card_onnx_goes_first_and_both_routes_are_held_against_each_other_on_it(
    both_routes, caplog, monkeypatch, aipp
):
    monkeypatch.setattr(logging.getLogger("glorext"), "propagate", True)
    caplog.set_level(logging.INFO, "glorext")
    files, batches = both_routes(aipp=aipp)
    assert files == ["tiny_onnx_ascend310p_lite.mindir", "tiny_ascend310p_lite.mindir"]
    # Each is proved at every size, then both answer at the smallest.
    assert batches == [1, 4, 8, 1, 4, 8, 1, 1]
    assert f"by ONNX, the first route for cards (every MindSpore Lite reads it, and atc); on {ON} its" in caplog.text
    assert f"by MINDIR, the second route for cards; on {ON} its logits" in caplog.text
    assert f"{files[0]} and {files[1]} differ by at most" in caplog.text


def test_two_routes_to_a_card_that_compute_something_else_are_told(both_routes, monkeypatch):
    def for_card(model, *words):
        monkeypatch.setenv("STAND_IN_WRONG", "1" if model.suffix == ".mindir" else "0")
        return convert_for_card(model, *words)

    monkeypatch.setattr(converter, "convert_for_card", for_card)
    # As if each were near enough to what MindSpore gives.
    monkeypatch.setattr(converter, "_prove", lambda *words: (ON, 0.0))
    with pytest.raises(ConversionError, match="as tiny_onnx_ascend310p_lite.mindir gives them"):
        both_routes()


def test_infer_runs_the_largest_size_and_for_the_rest_the_smallest_that_fits(
    prepared, executed, pictures, by_mindspore, tmp_path, capsys
):
    words = [prepared, "--images", pictures, "--out", tmp_path / "out", "--device", "ascend310p", "--workers", 2]
    assert infer_command.main([*map(str, words), "--device_id", "1"]) == 0
    results = read_results(tmp_path / "out")
    # Two workers: one of them may find but a part of a batch.
    assert set(executed()) <= set(SIZES) and results.workers == 2 and results.batch == 8
    assert np.abs(results.logits - by_mindspore.logits).max() < 1e-4
    assert results.device == ON and results.card == {"id": 1, "count": 2, "chip": "Ascend310P3"}
    assert f"40 pictures on {ON}, " in capsys.readouterr().out


def test_validate_takes_the_prepared_model_or_makes_one_and_says_what_answered(
    source, prepared, executed, pictures, by_mindspore, tmp_path
):
    listed = list_pictures(pictures, source.labels)
    for request, batches in (
        (Request("lite-cpp", "ascend310p", model=prepared), [8] * 5),
        (Request("lite", "ascend310p", model=prepared), [8] * 5),
        (Request("lite-cpp", "ascend310p"), [1] * 40),
    ):
        run = prepare(source, request, tmp_path)
        executed()
        results = run(listed)
        assert executed() == batches
        found = validate(source, results, by_mindspore)
        assert (found.device, found.measured.count) == (ON, 40)
        assert np.abs(results.logits - by_mindspore.logits).max() < 1e-4
        (tmp_path / "tiny_onnx_ascend310p_lite.mindir").unlink(missing_ok=True)


def test_pixels_go_through_aipp_at_every_size(source, executed, exported, pictures, by_mindspore, tmp_path):
    card = AscendOptions("ascend310p", SIZES, aipp=True)
    artifact = convert_for_card(exported / "tiny.onnx", tmp_path, card)
    assert executed() == [1, 4, 8]
    assert artifact.input == Port("image", "uint8", (-1, 32, 32, 3), "NHWC", "pixels")
    for backend in ("lite", "lite-cpp"):
        run = prepare(source, Request(backend, "ascend310p", model=tmp_path / artifact.file), tmp_path)
        results = run(list_pictures(pictures, source.labels))
        assert np.abs(results.logits - by_mindspore.logits).max() < 1e-4
    assert executed() == [8] * 10


def test_the_server_fills_up_to_the_sizes_that_were_prepared(prepared):
    text = triton_config(read_artifact(prepared))
    assert "preferred_batch_size: [ 1, 4, 8 ]" in text and "max_batch_size: 8" in text and '"ascend"' in text


def test_paritys_hop_runs_on_the_card_that_is_there_and_a_stand_ins_numbers_are_no_measurement(
    source, machine, executed, pictures, monkeypatch
):
    chosen = ("MINDIR in MindSpore", "Ascend card")
    monkeypatch.setattr(measure, "all_hops", lambda *words: [hop for hop in all_hops(*words) if hop[0] in chosen])
    found = measure.parity(source, load_inputs(source, pictures))
    hop = found.hops[1]
    # The proof of the conversion, and each picture.
    assert executed() == [1] * 41
    assert (hop.state, hop.max_difference) == ("not measured", None) and f"40 inputs ran on {ON}" in hop.reason


def test_the_doctor_says_that_the_chip_is_a_stand_ins(machine):
    seen = ascend_host.look()
    assert (seen.soc, seen.soc_source) == ("Ascend310P3", "AscendCL stand-in, not a card")
    assert seen.target is None, "no card will load a model"


def run(prepared, pictures, tmp_path, **words):
    return infer(prepared, pictures, tmp_path / "out", "ascend310p", **words)


@pytest.mark.parametrize(
    "answers, words, told",
    [
        (
            {"STAND_IN_CHIP": "Ascend310P1"},
            {},
            "was compiled for Ascend310P3, and the chip of this machine is Ascend310P1",
        ),
        ({"STAND_IN_CHIP": "Ascend910B3"}, {}, "the chip of this machine is Ascend910B3; choose --device ascend910"),
        ({}, {"device_id": 2}, "--device_id 2: this machine has 2 cards, counted from 0; choose 0 to 1"),
        ({}, {"batch": 9}, "largest size that the model was prepared for is 8; leave --batch out"),
        ({"STAND_IN_MEMORY": "100"}, {}, "Common error code; AscendCL: EL0004: failed to allocate memory"),
    ],
)
def test_what_the_card_cannot_do_is_told_and_nothing_is_written(
    prepared, pictures, tmp_path, monkeypatch, capfd, answers, words, told
):
    for key, value in answers.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(Exception, match="its message is above"):
        run(prepared, pictures, tmp_path, **words)
    assert told in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_where_the_memory_ends_the_number_of_workers_that_fit_is_told(prepared, pictures, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("STAND_IN_MEMORY", str(int(2.5 * prepared.stat().st_size)))
    with pytest.raises(InferenceError):
        run(prepared, pictures, tmp_path, workers=4)
    assert "2 of the 4 models were built: --workers 2 needs no more memory" in capfd.readouterr().err


def test_a_card_that_is_lost_leaves_what_was_computed_before(
    prepared, pictures, by_mindspore, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("STAND_IN_LOST", "3")
    with pytest.raises(InferenceError, match="failed with status 1"):
        run(prepared, pictures, tmp_path)
    told = capfd.readouterr().err
    assert "inference failed: Common error code; AscendCL: EE9999: the card's heartbeat is lost; `npu-smi info`" in told
    assert "24 of the 40 inputs are scored in" in told
    check_kept(read_results(tmp_path / "out"), by_mindspore, 24)


def check_kept(results, by_mindspore, count):
    """`count` answers, each that of its picture, and the other pictures listed as failed."""
    rows = [by_mindspore.paths.index(path) for path in results.paths]
    assert results.count == count and np.abs(results.logits - by_mindspore.logits[rows]).max() < 1e-4
    failed = {one["path"] for one in results.failed}
    assert failed == set(by_mindspore.paths) - set(results.paths) and len(failed) == 40 - count
    assert {one["error"] for one in results.failed} == {"not run: the run ended before"}


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_keeps_what_was_computed_and_ends_with_130(
    prepared, pictures, by_mindspore, executed, tmp_path, monkeypatch, group
):
    """To the command alone, as `kill` does it, and to everything of its terminal."""
    monkeypatch.setenv("STAND_IN_SLOW", "700")
    words = ["infer", prepared, "--images", pictures, "--out", tmp_path / "out", "--device", "ascend310p"]
    started = subprocess.Popen(
        [sys.executable, "-m", "glorext", *map(str, words)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "executed").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (os.killpg if group else os.kill)(started.pid, signal.SIGINT)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 130, told
    count = read_results(tmp_path / "out").count
    assert f"stopped by Ctrl-C; {count} of the 40 inputs are scored" in told and told.endswith(
        "glorext infer: stopped\n"
    )
    assert 0 < count < 40
    check_kept(read_results(tmp_path / "out"), by_mindspore, count)


def test_a_package_that_drives_no_card_is_refused_before_the_work(prepared, native, pictures, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmindspore-lite.so").touch()
    lite = dataclasses.replace(native.programs.lite, root=tmp_path, version="2.3.1")
    with pytest.raises(SetupError, match="the plugin for Ascend cards.*found MindSpore Lite 2.3.1 for the CPU alone"):
        run(prepared, pictures, tmp_path, programs=dataclasses.replace(native.programs, lite=lite))


@pytest.fixture
def job(machine, source, exported, pictures, tmp_path, monkeypatch):
    """What the rows of `glorext acceptance` for a card work with: the tiny network in the place of its three."""
    for key, value in {"MODELS": ("tiny",), "TRAINED": "tiny"}.items():
        monkeypatch.setattr(offline, key, value)
    write_run_folder(tmp_path / "tiny", source)
    (tmp_path / offline.DIGITS).mkdir()
    for name, place in {"exported": exported, "pictures": pictures, f"{offline.DIGITS}/val": pictures}.items():
        (tmp_path / name).symlink_to(place)
    # The doctor sees no card, which is right.
    monkeypatch.setattr(offline, "require_lite", lambda job: None)
    return Job(str(tmp_path), "CPU", "ascend310p", 2, "a CPU", ON, "a CPU", False)


def write_run_folder(folder, source):
    folder.mkdir()
    shutil.copyfile(source.checkpoint, folder / BEST)
    write_labels(folder / LABELS, source.labels)
    write_run(folder, source.identity(), None)


def test_the_rows_of_glorext_acceptance_for_a_card_run_every_size_and_both_kinds_of_input(job, executed):
    found = offline.converting_for_card(job)
    assert executed() == [1, 4, 8] and not found.wrong and "sizes 1, 4, 8 on Ascend310P3" in found.text
    found = offline.converting_for_card(job, "aipp")
    assert executed() == [1, 4, 8] and not found.wrong and "sizes 1, 4, 8 on Ascend310P3" in found.text
    found = offline.sizes(job)
    assert executed() == [1, 4, 8] and not found.wrong and found.text.startswith("3 of 3 agree")
    found = offline.accuracy(job)
    assert executed() == [8] * 5 and "the answer of MindSpore on 40 of 40" in found.text
    found = offline.speed(job)
    speeds = [one for one in found.numbers if one.unit == "pictures/s"]
    assert len(speeds) == 3 and {one.on for one in speeds} == {ON} and set(executed()) == {1, 4, 8}


def test_sizes_that_answer_something_else_after_conversion_fail_their_row(job, monkeypatch):
    offline.converting_for_card(job)
    golden = read_golden(job.path / "exported" / "tiny.mindir")
    monkeypatch.setattr(offline, "read_golden", lambda model: golden._replace(outputs=golden.outputs + 0.1))
    wrong = offline.sizes(job).wrong
    assert [f"batch {size}" in text for size, text in zip(SIZES, wrong)] == [True] * 3
