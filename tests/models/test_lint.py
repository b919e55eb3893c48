"""`glorext lint` names the network, and what would go wrong with it."""

import json

import numpy as np
import pytest

from glorext.hub.lint import main
from glorext.models import create, save_checkpoint, weights_digest
from glorext.models.lint import lint
from glorext.runtime import CheckpointError, DataError


@pytest.fixture
def saved(tmp_path):
    """tensors -> the path of a checkpoint with them."""

    def save(tensors, naming=None):
        save_checkpoint(tensors, tmp_path / "x.ckpt", naming=naming, groups=4)
        return tmp_path / "x.ckpt"

    return save


def findings(path, **options):
    return {(finding["level"], finding["what"]): finding["tensors"] for finding in lint(path, **options)["findings"]}


def only(path, level, text, **options):
    """The tensors of the one finding, which is of this level and says this."""
    found = findings(path, **options)
    assert len(found) == 1, found
    (found_level, what), tensors = found.popitem()
    assert found_level == level and text in what, what
    return tensors


def test_a_sound_checkpoint_has_no_findings_and_its_facts(name, small, weights, saved):
    path = saved(weights(name))
    report = lint(path)
    assert report["findings"] == []
    assert report["network"] is None and report["num_classes"] == 5
    assert report["arguments"] == small[name] | {"num_classes": 5, "in_channels": 3}
    assert report["weights_sha256"] == weights_digest(weights(name))
    net = create(name, num_classes=5, **small[name])
    assert report["parameters"] == sum(parameter.size for parameter in net.trainable_params())


def test_a_split_checkpoint_is_found_sound(weights, saved):
    report = lint(saved(weights("resnext50"), naming="split"))
    assert (report["naming"], report["stem_pool"], report["findings"]) == ("split", "same", [])


def test_a_whole_registered_network_is_named(saved):
    path = saved(create("resnext50", num_classes=2))
    report = lint(path)
    assert report["network"] == "resnext50" and report["parameters"] == 25_028_904 - 998 * 2049
    assert {finding["what"].split(" in ")[0] for finding in report["findings"]} == {
        "running statistics never updated",
        "16 blocks that add nothing: the last gamma is all zero, as",
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_errors(name, weights, saved, value):
    stored = weights(name)
    victim = list(stored)[5]
    stored[victim] = stored[victim].copy()
    stored[victim].flat[-1] = value
    assert only(saved(stored), "error", "NaN or infinite values in 1 tensors") == [victim]


@pytest.mark.parametrize(
    "value, level, text", [(-0.1, "error", "negative variance"), (1e9, "warning", "variance above")]
)
def test_variances_out_of_range(name, weights, saved, value, level, text):
    stored = weights(name)
    victim = [key for key in stored if key.endswith("moving_variance")][3]
    stored[victim] = stored[victim].copy()
    stored[victim][2] = value
    assert only(saved(stored), level, text) == [victim]


def test_the_untrainable_branch_of_published_glore_checkpoints_is_found(weights, saved):
    for network, prefix in (("glore_res50", "layer3.1"), ("glore_res101", "layer4.Residual_Unit1_GloreUnit")):
        stored = weights(network)
        for part in ("gamma", "beta"):
            stored[f"{prefix}.conv_extend.0.{part}"] = np.zeros_like(stored[f"{prefix}.conv_extend.0.{part}"])
        assert only(saved(stored), "warning", "never trained and never will be") == [f"{prefix}.conv_extend.0"]


def test_a_zero_gamma_that_still_learns_is_not_called_dead(weights, saved):
    stored = weights("resnext50")
    stored["backbone.layer2.1.bn3.gamma"] = np.zeros_like(stored["backbone.layer2.1.bn3.gamma"])
    assert only(saved(stored), "warning", "1 blocks that add nothing") == ["backbone.layer2.1.bn3"]
    stored = weights("resnext50")
    stored["backbone.layer2.1.bn1.gamma"] = np.zeros_like(stored["backbone.layer2.1.bn1.gamma"])
    stored["backbone.layer2.1.bn1.beta"] = np.ones_like(stored["backbone.layer2.1.bn1.beta"])
    assert findings(saved(stored)) == {}


def test_closed_units_and_fresh_statistics_are_found(small, saved):
    found = findings(saved(create("glore_res50", num_classes=5, **small["glore_res50"])))
    assert ("warning", "1 GloRe units that are the identity, as in a fresh network") in found
    assert any(what.startswith("running statistics never updated") for _, what in found)


def test_training_state_is_a_note(name, weights, saved):
    stored = weights(name)
    path = saved(stored | {f"moments.{key}": value for key, value in stored.items()} | {"global_step": np.array([9])})
    assert len(only(path, "note", "of the training run")) == len(stored) + 1


def test_missing_and_foreign_tensors_are_errors(weights, saved):
    stored = weights("resnext50")
    del stored["backbone.layer1.0.bn2.beta"]
    stored["backbone.more"] = np.ones(3, np.float32)
    stored["backbone.layer1.0.bn1.beta"] = np.ones(3, np.float32)
    found = findings(saved(stored))
    assert found == {
        ("error", "1 tensors missing"): ["backbone.layer1.0.bn2.beta"],
        ("error", "1 tensors unexpected"): ["backbone.more"],
        ("error", "1 tensors of wrong shape"): ["backbone.layer1.0.bn1.beta (3,) instead of (8,)"],
    }


def test_the_label_list_must_have_as_many_lines_as_the_classifier(name, weights, saved, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    assert findings(saved(weights(name)), labels=labels) == {}
    labels.write_text("a\nb\n")
    only(saved(weights(name)), "error", "2 labels,", labels=labels)
    with pytest.raises(DataError, match="none.txt"):
        lint(saved(weights(name)), labels=tmp_path / "none.txt")


def test_a_stem_that_is_missing_is_an_error(weights, saved):
    stored = weights("resnext50")
    del stored["backbone.conv.weight"]
    with pytest.raises(CheckpointError, match="backbone.conv.weight"):
        lint(saved(stored))


def test_the_command_prints_a_table_or_json_and_its_status_counts_errors(weights, saved, capsys):
    path = saved(weights("resnext50"))
    assert main([str(path)]) == 0
    table = capsys.readouterr().out
    assert "a variant of resnext" in table and "layers=(1, 2, 1, 1)" in table and "no findings" in table
    stored = weights("resnext50")
    stored["head.fc.bias"] = np.full_like(stored["head.fc.bias"], np.nan)
    assert main([str(saved(stored)), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["findings"] == [
        {"level": "error", "what": "NaN or infinite values in 1 tensors", "tensors": ["head.fc.bias"]}
    ]
