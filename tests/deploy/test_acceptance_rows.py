"""What the rows of `glorext acceptance` call wrong: each bound is missed here once."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from glorext.deploy.acceptance import networks, offline, ranks, training
from glorext.deploy.acceptance.worker import Job, NotRun
from glorext.deploy.contract.closeness import BFLOAT16, EXPORTED, FLOAT16
from glorext.deploy.doctor.examine import Loading


@pytest.fixture
def job(tmp_path):
    return Job(str(tmp_path), "Ascend", "ascend910", 2, "Ascend910B3", "Ascend910B3", "a CPU", False)


@pytest.fixture
def forwarded(job, monkeypatch):
    """A function: the forward row where the device's logits of a precision differ by `apart` from the CPU's."""
    reference = np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)
    reference[0, :2] = 1.0, 1.0004
    (job.path / "resnext50-cpu").mkdir()
    np.save(job.path / "resnext50-cpu" / "0.npy", reference)
    monkeypatch.setattr(networks, "open_model", lambda path: SimpleNamespace(input_spec=SimpleNamespace(size=224)))

    def call(precision, apart):
        def logits(job, network, device, out):
            (job.path / "resnext50-device").mkdir()
            np.save(job.path / "resnext50-device" / "0.npy", reference + np.float32(apart))
            values = {"precisions": {precision: [0, 12.5]}, "memory": {"card": 900.0}}
            (job.path / "resnext50-device" / "found.json").write_text(json.dumps(values))

        monkeypatch.setattr(networks, "logits", logits)
        return networks.forward(job, "resnext50")

    return call


@pytest.mark.parametrize(
    "precision, limit", [("float32 (O0)", FLOAT16), ("float16 (O2)", FLOAT16), ("bfloat16 (O2)", BFLOAT16)]
)
@pytest.mark.parametrize("share, passes", [(0.9, True), (2.5, False)])
def test_logits_beyond_the_bound_of_their_precision_fail(forwarded, precision, limit, share, passes):
    found = forwarded(precision, share * limit)
    assert (not found.wrong) is passes, found.wrong
    assert [(one.value, one.unit, one.on) for one in found.numbers][1:] == [
        (12.5, "ms", "Ascend910B3"),
        (900.0, "MB", "Ascend910B3"),
    ]


def test_an_answer_that_was_clear_and_changed_fails_within_the_bound(forwarded, monkeypatch):
    monkeypatch.setattr(networks, "tolerance", lambda name, device: 9.0)
    change = np.zeros((4, 10), np.float32)
    change[1] = np.linspace(5, -5, 10)
    assert "answers changed that were clear" in forwarded("float16 (O2)", change).wrong[0]


def test_a_cpu_is_held_to_float32():
    assert networks.tolerance("float32 (O0)", "CPU") == EXPORTED < networks.tolerance("float32 (O0)", "Ascend")


def test_losses_that_part_early_or_on_the_whole_fail():
    reference = np.linspace(2.4, 2.0, 20)
    assert training.apart(reference * 1.009, reference)[1] == ""
    early, late = reference.copy(), reference.copy()
    early[4] *= 1.02
    late[5:] *= 1.1
    for found in (early, late, reference[:19], np.where(np.arange(20) == 7, np.nan, reference)):
        assert training.apart(found, reference)[1]
    late[5:] = reference[5:] * 1.04
    assert training.apart(late, reference)[1] == "", "single losses after the first five may part further"


GOOD = {"finite": [True, False, True, True], "scales": [8.0, 4.0, 4.0, 4.0], "digests": ["a", "a", "b", "c"]}


@pytest.mark.parametrize(
    "first, second, told",
    [
        ({}, {}, None),
        ({"finite": [True, True, True, True]}, {}, "counted as finite"),
        ({"scales": [8.0, 8.0, 8.0, 8.0]}, {}, "not halved"),
        ({"digests": ["a", "b", "c", "d"]}, {}, "weights changed at the second step"),
        ({"digests": ["a", "a", "a", "a"]}, {}, "or did not at another"),
        ({}, {"scales": [8.0, 8.0, 8.0, 8.0]}, "rank 1 has other scales than rank 0"),
        ({}, {"digests": ["a", "b", "c", "d"]}, "rank 1 has other digests than rank 0"),
    ],
)
def test_an_overflow_that_a_rank_misses_fails(job, monkeypatch, first, second, told):
    monkeypatch.setattr(ranks, "on_ranks", lambda *words: [{**GOOD, **first}, {**GOOD, **first, **second}])
    wrong = ranks.overflow(job, "several").wrong
    assert told in wrong[0] if told else not wrong


def test_unequal_weights_fail_and_the_speed_of_several_is_held_against_one(job, monkeypatch):
    one = {"digest": "a", "step_ms": 100.0, "wait_ms": 20.0, "host_ms": 1.5, "in_memory_ms": 70.0}
    one |= {"host_memory": 900.0, "card_memory": 3000.0}
    (job.path / "speed-1").mkdir()
    (job.path / "speed-1" / "0.json").write_text(json.dumps(one))
    monkeypatch.setattr(ranks, "on_ranks", lambda *words: [one, {**one, "step_ms": 125.0}])
    found = ranks.speed(job, "several")
    values = {number.what.partition("2 x, training")[2]: number.value for number in found.numbers}
    assert not found.wrong and "equal weights on 2 ranks, 1.60 times the speed of one" in found.text
    assert values[""] == 32 * 2 / 0.125 and values[", share of one device's speed that each has"] == 80.0
    assert values[", share of the time that the host waits for pictures"] == 18.0 and values[", most memory of a card"]
    monkeypatch.setattr(ranks, "on_ranks", lambda *words: [one, {**one, "digest": "b"}])
    assert ranks.speed(job, "several").wrong == ("rank 1 ends with other weights than rank 0",)


def test_what_keeps_the_program_from_the_card_is_the_reason_that_its_rows_are_not_run(job, monkeypatch):
    rows = [
        Loading("x", "the C++ program, ascend910", "no", "CANN: no toolkit"),
        Loading("x", "the C++ program, cpu", "no", "cmake: not on PATH"),
    ]
    monkeypatch.setattr(offline, "examine", lambda host: [])
    monkeypatch.setattr(offline, "loadings", lambda findings, host: rows)
    with pytest.raises(NotRun, match="CANN: no toolkit"):
        offline.require_lite(job)
    rows[0] = Loading("x", "the C++ program, ascend910", "yes", "")
    offline.require_lite(job)
