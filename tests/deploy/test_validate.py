"""Results are held against MindSpore picture by picture and against the evidence, and never passed by accident."""

import dataclasses

import numpy as np
import pytest

from glorext.deploy.contract.artifact import contract_path
from glorext.deploy.contract.closeness import FLOAT32_DIFFERENCE
from glorext.deploy.runners.common import Request, join, take
from glorext.deploy.validate.accuracy import FAIL, PASS, UNCLEAR, Check, listing_digest
from glorext.deploy.validate.backends import prepare
from glorext.deploy.validate.command import picked, score_until_decided
from glorext.deploy.validate.shards import merge, parse_shard, write_shard
from glorext.deploy.validate.verdict import EarlyStop, validate, verdict
from glorext.models.answers import Results
from glorext.models.evaluation import EvalResult
from glorext.models.labels import labels_digest
from glorext.runtime import AccuracyError, DataError, UsageError, read_json, write_json
from glorext.train.pictures import Pictures

from .made import ARTIFACT, identity, trained

LABELS = tuple("abcdefghij")
COUNT = 400


def claimed(top1, paths=None):
    """Evidence of this top-1, for the pictures of `results` unless others are given."""
    paths = [f"{LABELS[i % 10]}/{i:03d}.png" for i in range(COUNT)] if paths is None else paths
    return EvalResult(
        top1,
        1.0,
        COUNT,
        "f" * 64,
        "e" * 64,
        "d" * 64,
        "resnext50",
        "CPU",
        "O0",
        {},
        {"folder": "val", "count": COUNT, "sha256": listing_digest(paths)},
        None,
    )


@pytest.fixture
def model(tmp_path):
    return trained(tmp_path / "m.ckpt", LABELS, claimed(0.9), weights_sha256="f" * 64)


def results(logits, backend="lite-cpp", weights="f" * 64):
    pictures = [{"path": f"{LABELS[i % 10]}/{i:03d}.png", "top5": [], "ms": 1.0} for i in range(len(logits))]
    return Results(
        backend=backend,
        model=identity(labels=LABELS, weights_sha256=weights),
        artifact=ARTIFACT,
        device="cpu",
        batch=1,
        workers=1,
        threads=1,
        logits=logits.astype(np.float32),
        pictures=pictures,
        latency_ms={"p50": 1, "p90": 1, "p99": 1, "mean": 1, "warmup": 0},
        throughput=1.0,
        seconds=1.0,
        stages_ms={},
        versions={},
    )


@pytest.fixture
def logits():
    """Right on every picture but the first 20."""
    logits = np.random.default_rng(0).normal(size=(COUNT, 10))
    truth = np.arange(COUNT) % 10
    logits[np.arange(COUNT), truth] = 9
    logits[np.arange(20), (truth[:20] + 1) % 10] = 10
    return logits


def test_equal_results_pass(model, logits):
    validation = validate(model, results(logits), results(logits, "mindspore"), min_top1=0.95)
    assert validation.verdict == PASS and validation.mindspore.same == COUNT and not validation.mindspore.flips
    assert validation.measured.top1 == 0.95 and validation.mindspore.max_difference == 0
    assert validation.mindspore.cosine > 0.999999 and validation.claim.basis == "same pictures"


def failed(validation):
    return [check.name for check in validation.checks if check.state == FAIL]


def test_a_logit_that_moves_too_far_fails_though_no_answer_changes(model, logits):
    moved = logits.copy()
    moved[7, 3] -= 3 * FLOAT32_DIFFERENCE
    validation = validate(model, results(moved), results(logits, "mindspore"))
    assert failed(validation) == ["logits against MindSpore"]
    assert validation.mindspore.max_difference == pytest.approx(3e-3, rel=1e-3)


def test_two_flips_in_four_hundred_fail_and_are_named(model, logits):
    near = logits.copy()
    near[[0, 1]] = 0
    flipped = near.copy()
    near[[0, 1], 4], flipped[[0, 1], 5] = 4e-4, 4e-4
    validation = validate(model, results(flipped), results(near, "mindspore"))
    assert validation.mindspore.same == COUNT - 2 and validation.mindspore.flips == ("a/000.png", "b/001.png")
    assert "same top-1 as MindSpore" not in failed(validation), "two of 400 is what 359 of 360 allows, rounded down"
    flipped[2], near[2] = 0, 0
    near[2, 4], flipped[2, 5] = 4e-4, 4e-4
    assert "same top-1 as MindSpore" in failed(validate(model, results(flipped), results(near, "mindspore")))


def test_accuracy_below_the_packages_evidence_fails(model, logits):
    more = dataclasses.replace(model, evidence=claimed(0.97))
    assert failed(validate(more, results(logits), results(logits, "mindspore"))) == [
        "top-1 against the package's evidence"
    ]


def test_accuracy_below_the_wanted_value_fails(model, logits):
    assert failed(validate(model, results(logits), results(logits, "mindspore"), min_top1=0.97)) == [
        "top-1 against the wanted value"
    ]


def test_results_of_other_weights_are_refused(model, logits):
    with pytest.raises(AccuracyError, match="lite-cpp"):
        validate(model, results(logits, weights="e" * 64), results(logits, "mindspore"))


def test_other_pictures_are_refused(model, logits):
    with pytest.raises(DataError, match="same pictures"):
        validate(model, results(logits[:-1]), results(logits, "mindspore"))


def test_a_picture_that_was_not_scored_is_not_passed_over(model, logits):
    partial = results(logits)
    partial.failed = [{"path": "a/x.png", "error": "cut off"}]
    with pytest.raises(DataError, match="a/x.png: cut off"):
        validate(model, partial, results(logits, "mindspore"))


def test_not_a_number_does_not_pass(model, logits):
    broken = logits.copy()
    broken[3, 3] = np.nan
    validation = validate(model, results(broken), results(logits, "mindspore"))
    assert "logits against MindSpore" in failed(validation)


def test_an_accuracy_that_MindSpore_has_and_the_results_have_not_fails(model, logits):
    lost = logits.copy()
    lost[20:25] = np.roll(logits[20:25], 1, axis=1)
    validation = validate(model, results(lost), results(logits, "mindspore"))
    assert "top-1 against MindSpore on the same pictures" in failed(validation)
    assert validation.measured.top1 == 375 / 400


def check(state):
    return Check("x", "", "", state)


@pytest.mark.parametrize(
    "states, compared, expected",
    [
        ([PASS, FAIL], True, FAIL),
        ([PASS, UNCLEAR], True, PASS),
        ([PASS, UNCLEAR], False, UNCLEAR),
        ([UNCLEAR], True, UNCLEAR),
        ([], False, UNCLEAR),
        ([PASS], False, PASS),
    ],
)
def test_nothing_shown_is_not_passed(states, compared, expected):
    assert verdict([check(state) for state in states], compared) == expected


def test_without_evidence_or_reference_there_is_no_verdict(model, logits):
    validation = validate(dataclasses.replace(model, evidence=None), results(logits))
    assert validation.verdict == UNCLEAR and validation.claim is None and validation.mindspore is None


def test_half_precision_on_a_card_may_move_logits_but_not_lose_answers(model, logits):
    moved = logits + np.random.default_rng(1).normal(0, 0.02, logits.shape)
    on_card = dataclasses.replace(results(moved), device="ascend310")
    assert validate(model, on_card, results(logits, "mindspore")).verdict == PASS
    assert failed(validate(model, results(moved), results(logits, "mindspore"))) == ["logits against MindSpore"]


def test_an_early_answer_is_judged_by_its_test_alone(model, logits):
    found = validate(model, results(logits), early_stop=EarlyStop("kept", 390, 50000, 0.9, False, 0, 0.05))
    assert found.verdict == PASS and found.measured.low is None and found.claim is None
    assert "390 of 50,000" in found.checks[0].found
    assert (
        validate(model, results(logits), early_stop=EarlyStop("dropped", 390, 50000, 0.9, False, 0, 0.05)).verdict
        == FAIL
    )


# A folder of 400 pictures that exists in name only, and backends that look their answers up.


@pytest.fixture
def pictures(tmp_path):
    paths = sorted(f"{LABELS[i % 10]}/{i:03d}.png" for i in range(COUNT))
    return Pictures(
        tmp_path,
        LABELS,
        tuple(paths),
        np.array([LABELS.index(path[0]) for path in paths], np.int32),
        np.arange(COUNT),
        (".png",),
    )


def looking_up(whole, asked=None):
    def run(pictures):
        if asked is not None:
            asked.append(pictures.paths)
        return picked(whole, pictures)

    return run


@pytest.fixture
def whole(logits):
    found = results(logits)
    order = sorted(range(COUNT), key=lambda i: found.pictures[i]["path"])
    return dataclasses.replace(found, logits=found.logits[order], pictures=[found.pictures[i] for i in order])


def test_the_sequential_test_asks_for_each_picture_once_and_stops(model, whole, pictures):
    asked = []
    found, reference, stopped = score_until_decided(
        looking_up(whole, asked), None, model, pictures, seed=1, max_drop=0.1, batch=20
    )
    seen = [path for paths in asked for path in paths]
    assert len(seen) == len(set(seen)) == found.count < COUNT and reference is None
    assert stopped.verdict == "kept" and found.count - 20 < stopped.seen <= found.count and not stopped.paired
    again = score_until_decided(looking_up(whole), None, model, pictures, seed=1, max_drop=0.1, batch=20)
    other = score_until_decided(looking_up(whole), None, model, pictures, seed=2, max_drop=0.1, batch=20)
    assert again[2] == stopped and [p["path"] for p in other[0].pictures] != [p["path"] for p in found.pictures]


def test_the_sequential_test_against_mindspore_finds_answers_that_were_lost(model, whole, pictures):
    broken = dataclasses.replace(
        whole, logits=np.where(np.arange(COUNT)[:, None] % 4 == 0, np.roll(whole.logits, 1, axis=1), whole.logits)
    )
    found, reference, stopped = score_until_decided(
        looking_up(broken), looking_up(whole), model, pictures, batch=20, max_drop=0.05
    )
    assert stopped.verdict == "dropped" and stopped.paired and found.count == reference.count < COUNT
    assert validate(model, found, reference, max_drop=0.05, early_stop=stopped).verdict == FAIL


def test_the_sequential_test_needs_something_to_compare_with(model, whole, pictures):
    with pytest.raises(DataError, match="--reference"):
        score_until_decided(looking_up(whole), None, dataclasses.replace(model, evidence=None), pictures)


def shards_of(folder, whole, model, pictures, of):
    paths = []
    for index in range(1, of + 1):
        shard = parse_shard(f"{index}/{of}")
        paths.append(folder / f"shard{index}of{of}")
        write_shard(paths[-1], shard, picked(whole, shard.of_pictures(pictures)), pictures)
    return paths


def test_all_shards_together_are_the_run_that_was_not_divided(tmp_path, model, whole, pictures):
    joined = merge(shards_of(tmp_path, whole, model, pictures, 3)[::-1], model)
    assert np.array_equal(joined.logits, whole.logits)
    assert [p["path"] for p in joined.pictures] == [p["path"] for p in whole.pictures]
    divided, at_once = validate(model, joined), validate(model, whole)
    assert divided.checks == at_once.checks and divided.measured == at_once.measured
    assert (joined.seconds, joined.throughput) == (3, COUNT / 3)


def test_shards_that_do_not_belong_together_are_refused(tmp_path, model, whole, pictures):
    one, two, three = shards_of(tmp_path, whole, model, pictures, 3)
    with pytest.raises(DataError, match="no shard 3"):
        merge([one, two], model)
    with pytest.raises(DataError, match="shard 2 twice"):
        merge([one, two, two], model)
    with pytest.raises(DataError, match="another weights"):
        merge([one, two, three], dataclasses.replace(model, weights_sha256="0" * 64))
    foreign, *_ = shards_of(tmp_path, whole, model, pictures, 4)
    with pytest.raises(DataError, match="shards 3"):
        merge([one, foreign], model)
    fewer = take(pictures, range(COUNT - 1))
    other, *_ = shards_of(tmp_path / "other", whole, model, fewer, 3)
    with pytest.raises(DataError, match="pictures 400"):
        merge([two, other, three], model)
    newer = dataclasses.replace(whole, versions={"mindspore_lite": "2.3"})
    third = shards_of(tmp_path / "newer", newer, model, pictures, 3)[2]
    with pytest.raises(DataError, match="versions"):
        merge([one, two, third], model)


def test_a_shard_that_was_tampered_with_is_refused(tmp_path, model, whole, pictures):
    one, two = shards_of(tmp_path, whole, model, pictures, 2)
    listed = one / "results" / "results.json"
    assert '"b/001.png"' in listed.read_text()
    listed.write_text(listed.read_text().replace('"b/001.png"', '"b/003.png"'))
    with pytest.raises(DataError, match="each once"):
        merge([one, two], model)


def test_a_shard_never_replaces_other_files(tmp_path, model, whole, pictures):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="other files"):
        write_shard(tmp_path, parse_shard("1/1"), whole, pictures)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/3/5", "-1/3"])
def test_an_impossible_shard_is_a_usage_error(text):
    with pytest.raises(UsageError, match="i/n"):
        parse_shard(text)


def test_a_picture_in_two_parts_is_refused(whole):
    with pytest.raises(DataError, match="twice"):
        join([whole, whole])


def test_answers_for_missing_pictures_are_named(whole, pictures):
    short = dataclasses.replace(whole, logits=whole.logits[1:], pictures=whole.pictures[1:])
    with pytest.raises(DataError, match="a/000.png"):
        picked(short, pictures)


def _other_mean(contract):
    contract["model"]["input_spec"]["mean"][1] += 0.01


def _other_size(contract):
    contract["model"]["input_spec"]["resize"] += 8


def _other_labels(contract):
    contract["labels"][3], contract["labels"][4] = contract["labels"][4], contract["labels"][3]
    contract["model"]["labels_sha256"] = labels_digest(contract["labels"])


def _other_weights(contract):
    contract["model"]["weights_sha256"] = "0" * 64


@pytest.mark.parametrize(
    "change, words",
    [
        (_other_mean, r"input spec: mean \[0.485, 0.466, 0.406\] instead of mean \[0.485, 0.456, 0.406\]"),
        (_other_size, "input spec: resize 40 instead of resize 32"),
        (_other_labels, "another labels: sha256"),
        (_other_weights, "another weights: 0000000000000000"),
    ],
)
def test_a_model_that_is_not_the_packages_is_not_validated_as_such(source, exported, tmp_path, change, words):
    model = tmp_path / "tiny.onnx"
    model.write_bytes((exported / "tiny.onnx").read_bytes())
    contract = read_json(contract_path(exported / "tiny.onnx"))
    write_json(contract_path(model), contract)
    prepare(source, Request("onnx", model=model), tmp_path)
    change(contract)
    write_json(contract_path(model), contract)
    with pytest.raises(AccuracyError, match=words):
        prepare(source, Request("onnx", model=model), tmp_path)
