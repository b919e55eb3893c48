"""The C++ program and the card: what it asks AscendCL, what it refuses, and which batch sizes it runs.

The card is a stand-in for AscendCL (`ascendcl/`): the host side of the program and of MindSpore Lite 2.0.0's own Ascend
session. There is no compiler and no card's arithmetic; a "model" there sums its inputs.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from glorext.models.answers import read_results
from glorext.runtime import sha256_file

from .ascendcl import converter

pytestmark = pytest.mark.native
STAND_IN = "AscendCL stand-in, not a card"


@pytest.fixture
def run(native, converted, ascendcl, tmp_path):
    """Runs a model, its contract changed by `device`, on a card; (exit status, what it said)."""

    def call(device=None, flags=("--device", "ascend310p"), **answers):
        model = tmp_path / "m_lite.mindir"
        shutil.copyfile(converted / "tiny_lite.mindir", model)
        contract = json.loads((converted / "tiny_lite.mindir.json").read_text())
        (tmp_path / "m_lite.mindir.json").write_text(json.dumps(contract | {"file": model.name, "device": device}))
        np.save(tmp_path / "input.npy", np.zeros((1, 3, 32, 32), np.float32))
        command = [native.infer, "--model", model, "--tensor", tmp_path / "input.npy", "--out", tmp_path / "out"]
        environment = os.environ | {"LD_LIBRARY_PATH": str(ascendcl)} | answers
        done = subprocess.run([*map(str, command), *flags], capture_output=True, text=True, env=environment)
        return done.returncode, done.stderr

    return call


def card(chip="Ascend310P3", family="ascend310p", batches=(1, 8)):
    return {"family": family, "chip": chip, "batches": list(batches)}


def test_a_card_that_is_not_there_is_refused(run, tmp_path):
    status, told = run(card(), ("--device", "ascend310p", "--device_id", "7"), STAND_IN_CARDS="2")
    assert status == 1 and "--device_id 7: this machine has 2 cards, counted from 0" in told
    status, told = run(card(), STAND_IN_CARDS="0", STAND_IN_CHIP="Ascend310P3")
    assert status == 1 and "this machine has 0 cards" in told
    assert not (tmp_path / "out").exists()


def test_a_driver_that_does_not_answer_is_named(run):
    status, told = run(card(), STAND_IN_CARDS="error")
    assert status == 1 and "cannot count the cards, error 507000" in told
    status, told = run(card())
    assert status == 1 and "does not say which chip" in told


@pytest.mark.parametrize("chip", ["Ascend310", "Ascend310B4", "Ascend910B3", "Ascend950PR"])
def test_another_family_than_the_one_asked_for_is_refused(run, chip):
    status, told = run(card(), STAND_IN_CHIP=chip)
    assert status == 1 and f"--device ascend310p: the chip of this machine is {chip}" in told


def test_a_model_for_another_chip_is_refused_with_both_names(run):
    status, told = run(card(), STAND_IN_CHIP="Ascend310P1")
    assert status == 2 and "compiled for Ascend310P3" in told and "this machine is Ascend310P1" in told
    status, told = run(card("Ascend310B4", "ascend310b"), STAND_IN_CHIP="Ascend310P1")
    assert status == 2 and "compiled for ascend310b" in told


def test_a_model_for_a_card_is_refused_on_the_cpu(run):
    status, told = run(card(), ("--device", "cpu"))
    assert status == 2 and "compiled for ascend310p and runs nowhere else, not on cpu" in told


def test_a_model_rearranged_for_the_cpu_is_refused_on_a_card(run, converted):
    contract = json.loads((converted / "tiny_lite.mindir.json").read_text())
    if contract["device"] is None:
        pytest.skip("this MindSpore Lite reads the MINDIR as it is: nothing is rearranged")
    assert contract["device"] == {"family": "cpu", "chip": None, "batches": []}
    status, told = run(contract["device"], STAND_IN_CHIP="Ascend310P3")
    assert status == 2 and "rearranged for the cpu" in told


def test_a_right_card_and_contract_reach_mindspore_lite(run):
    """The file is one for the CPU after all: MindSpore Lite itself refuses it, and no other device is taken."""
    for device in (card(), card(None)):
        status, told = run(device, STAND_IN_CHIP="Ascend310P3")
        assert status == 1 and "MindSpore Lite cannot build" in told and "for ascend310p" in told


def test_on_the_cpu_no_card_is_asked_for_or_recorded(run, tmp_path):
    status, told = run({"family": "cpu", "chip": None, "batches": []}, ("--device", "cpu"), STAND_IN_CARDS="error")
    assert status == 0, told
    assert json.loads((tmp_path / "out" / "results.json").read_text())["card"] is None


def write(path, contract, batches=(), batch=1, uint8=False, nhwc=False):
    """Write a model of the stand-in as a .mindir for a card, and its contract."""
    rows = -1 if batches else batch
    converter.write(path, converter.model(batches, batch, uint8, nhwc), rows, nhwc and not uint8)
    shape = [rows, 32, 32, 3] if nhwc else [rows, 3, 32, 32]
    port = {"dtype": "uint8" if uint8 else "float32", "layout": "NHWC" if nhwc else "NCHW", "shape": shape}
    own = {"file": path.name, "size": path.stat().st_size, "sha256": sha256_file(path), "device": card(batches=batches)}
    own["input"] = {"name": "image", "values": "pixels" if uint8 else "normalized"} | port
    own["output"] = contract["output"] | {"shape": [rows, 10]}
    Path(f"{path}.json").write_text(json.dumps(contract | own))
    return path


@pytest.fixture
def on_card(native, converted, ascendcl, tmp_path):
    """Runs inputs through a model of the stand-in: (what was read of the results, the batches that were executed)."""

    def call(inputs, *flags, **model):
        contract = json.loads((converted / "tiny_lite.mindir.json").read_text())
        path = write(tmp_path / "card.mindir", contract, **model)
        np.save(tmp_path / "input.npy", inputs)
        command = [native.infer, "--model", path, "--tensor", tmp_path / "input.npy", "--out", tmp_path / "out"]
        answers = {"STAND_IN_CHIP": "Ascend310P3", "STAND_IN_CARDS": "2", "STAND_IN_LOG": str(tmp_path / "log")}
        done = subprocess.run(
            [*map(str, command), "--device", "ascend310p", *flags],
            capture_output=True,
            text=True,
            env=os.environ | {"LD_LIBRARY_PATH": str(ascendcl)} | answers,
        )
        assert done.returncode == 0, done.stderr
        executed = [int(line) for line in (tmp_path / "log").read_text().split()]
        (tmp_path / "log").unlink()
        return read_results(tmp_path / "out"), executed

    return call


def summed(inputs, nhwc=False):
    """What the stand-in computes of (N, 3, 32, 32)."""
    rows = (inputs.transpose(0, 2, 3, 1) if nhwc else inputs).reshape(len(inputs), -1).astype(np.float64)
    return np.stack([rows[:, label::10].sum(axis=1) / 1000 for label in range(10)], axis=1)


def noise(rows):
    return np.random.default_rng(0).standard_normal((rows, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize(
    "rows, flags, sizes",
    [
        (8, (), [8]),
        (11, (), [8, 4]),
        (9, (), [8, 1]),
        (2, (), [4]),
        (6, ("--batch", "3"), [4, 4]),
        (3, ("--batch", "1"), [1, 1, 1]),
        (9, ("--batch", "8"), [8, 8]),
    ],
)
def test_the_smallest_prepared_size_that_fits_is_run_and_filled_up(on_card, rows, flags, sizes):
    results, executed = on_card(noise(rows), *flags, batches=(1, 4, 8))
    assert executed == sizes
    assert np.allclose(results.logits, summed(noise(rows)), atol=1e-5)


def test_a_batch_beyond_the_prepared_sizes_is_refused(on_card):
    with pytest.raises(AssertionError, match="--batch 9: the largest size that the model was prepared for is 8"):
        on_card(noise(9), "--batch", "9", batches=(1, 8))


def test_pixels_go_to_a_card_with_aipp_and_prepared_sizes(on_card):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 32, 32), np.uint8)
    results, executed = on_card(pixels, batches=(1, 4), uint8=True, nhwc=True)
    assert executed == [4, 1] and np.allclose(results.logits, summed(pixels, nhwc=True), rtol=1e-6)


def test_a_card_takes_the_layout_of_its_model(on_card):
    results, executed = on_card(noise(3), batches=(1, 4), nhwc=True)
    assert executed == [4] and np.allclose(results.logits, summed(noise(3), nhwc=True), atol=1e-5)


def test_a_fixed_batch_is_filled_up(on_card):
    results, executed = on_card(noise(6), batch=4)
    assert executed == [4, 4] and np.allclose(results.logits, summed(noise(6)), atol=1e-5)


def test_the_results_name_the_card(on_card):
    results, _ = on_card(noise(1), "--device_id", "1", batches=(1,))
    assert results.device == f"ascend310p ({STAND_IN})" and results.card == {"id": 1, "count": 2, "chip": "Ascend310P3"}
