"""One way to say which model is meant: a run, a checkpoint, a package or a name; the same answer for the same model."""

import shutil
from dataclasses import replace

import pytest

from glorext import models
from glorext.hub import open_model
from glorext.hub.pack import pack
from glorext.models.labels import write_labels
from glorext.models.trained import write_run
from glorext.runtime import CheckpointError, DataError, IntegrityError, NotFoundError, UsageError, read_json, write_json

from . import samples
from .samples import ARGUMENTS, LABELS, SPEC


@pytest.fixture
def here(registry, monkeypatch):
    """The test's registry folder, in GLOREXT_REGISTRIES."""
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    return registry


@pytest.fixture
def copy(run, tmp_path):
    """A run folder of the test's own."""
    return shutil.copytree(run, tmp_path / "run")


@pytest.mark.parametrize(
    "form", ["run", "its checkpoint", "another checkpoint of the run", "package", "card", "name", "name@version"]
)
def test_every_form_gives_the_same_model(run, copy, package, here, form):
    if form == "another checkpoint of the run":
        shutil.copy(copy / "best.ckpt", copy / "resnext50-3_20.ckpt")
    what = {
        "run": run,
        "its checkpoint": run / "best.ckpt",
        "another checkpoint of the run": copy / "resnext50-3_20.ckpt",
        "package": package,
        "card": package / "card.md",
        "name": "tiny-digits",
        "name@version": "tiny-digits@1.0.0",
    }[form]
    model = open_model(what if form.startswith("name") else str(what))
    assert model.difference(samples.identity(run)) is None
    assert (model.network_args, model.input_spec) == (ARGUMENTS, models.InputSpec(**SPEC))
    assert model.labels == tuple(LABELS) and model.evidence.top1 == 0.98
    assert models.weights_digest(model.create()) == models.weights_digest(run / "best.ckpt")


def test_a_bare_checkpoint_tells_its_network_by_its_shapes_and_is_given_its_labels(run, tmp_path):
    shutil.copy(run / "best.ckpt", tmp_path / "x.ckpt")
    model = open_model(tmp_path / "x.ckpt")
    assert (model.network, model.num_classes, model.labels, model.evidence) == ("resnext50", 10, (), None)
    assert model.network_args == ARGUMENTS
    assert models.weights_digest(model.create()) == model.weights_sha256 == models.weights_digest(run / "best.ckpt")
    write_labels(tmp_path / "labels.txt", LABELS)
    labeled = open_model(tmp_path / "x.ckpt", labels=tmp_path / "labels.txt")
    assert labeled.labels == tuple(LABELS) and "labels" in model.difference(labeled)
    write_labels(tmp_path / "labels.txt", LABELS[:3])
    with pytest.raises(DataError, match="expected 10 class names.*found 3"):
        open_model(tmp_path / "x.ckpt", labels=tmp_path / "labels.txt")


def test_a_registered_network_is_named_and_another_stem_goes_along(tmp_path):
    models.save_checkpoint(models.create("glore_res50", num_classes=2), tmp_path / "g.ckpt")
    assert (open_model(tmp_path / "g.ckpt").network, open_model(tmp_path / "g.ckpt").network_args) == (
        "glore_res50",
        {},
    )
    net = models.create("resnext50", num_classes=2, **ARGUMENTS)
    models.save_checkpoint(net, tmp_path / "t.safetensors", naming="torchvision")
    assert open_model(tmp_path / "t.safetensors").network_args["stem_pool"] == "torch"


def test_flags_must_agree_with_what_a_model_says_itself(run, package, tmp_path):
    write_labels(tmp_path / "same.txt", LABELS)
    write_labels(tmp_path / "other.txt", LABELS[::-1])
    for what in (run, package):
        assert open_model(what, network="resnext50", labels=tmp_path / "same.txt").labels == tuple(LABELS)
        with pytest.raises(UsageError, match="--network"):
            open_model(what, network="glore_res50")
        with pytest.raises(UsageError, match="other.txt"):
            open_model(what, labels=tmp_path / "other.txt")


def test_a_run_whose_weights_are_not_the_recorded_ones_is_not_taken_for_them(copy):
    other = models.create("resnext50", num_classes=10, **ARGUMENTS)
    models.save_checkpoint(other, copy / "best.ckpt")
    with pytest.raises(CheckpointError, match=r"as model.json says.*best.ckpt"):
        open_model(copy)
    write_run(copy, samples.identity(copy), None)
    assert open_model(copy).evidence is None, "eval.json is for other weights"


def test_a_run_with_other_labels_or_a_broken_record_is_refused(copy):
    record = read_json(copy / "model.json")
    write_labels(copy / "labels.txt", LABELS[::-1])
    with pytest.raises(DataError, match=r"labels of the run.*labels.txt"):
        open_model(copy)
    for key, value in (("network", "alexnet"), ("num_classes", "ten"), ("input_spec", {"size": 32})):
        write_json(copy / "model.json", record | {"model": record["model"] | {key: value}})
        with pytest.raises(DataError, match=key):
            open_model(copy)


def test_a_name_that_is_also_a_folder_here_is_never_guessed(run, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "tiny-digits")
    with pytest.raises(UsageError, match=r"\./tiny-digits.*tiny-digits@VERSION"):
        open_model("tiny-digits")
    assert open_model("./tiny-digits").folder.name == "tiny-digits"
    assert open_model("tiny-digits@1.0.0").version == "1.0.0"
    shutil.copytree(run, "resnext50")
    with pytest.raises(UsageError, match="one model"):
        open_model("resnext50")
    shutil.copytree(run, "outputs")
    assert open_model("outputs").folder.name == "outputs", "no registry has that name"


def test_what_is_nothing_says_what_was_looked_for(tmp_path, here):
    (tmp_path / "empty").mkdir()
    for what, error in (("empty", DataError), ("none", DataError), ("none.ckpt", CheckpointError)):
        with pytest.raises(error, match="a run, a checkpoint, a package or a name"):
            open_model(tmp_path / what)
    with pytest.raises(NotFoundError, match="nothing-like-it"):
        open_model("nothing-like-it")


def test_artifacts_are_not_fetched_to_open_a_model(run, tmp_path, here, package):
    made = tmp_path / "made"
    made.mkdir()
    (made / "golden.npy").write_bytes(b"golden")
    pack(run, tmp_path / "out", replace(samples.DETAILS, version="2.0.0"), artifacts=made)
    (tmp_path / "out/artifacts/golden.npy").write_bytes(b"other")
    assert open_model(tmp_path / "out").version == "2.0.0"
    (tmp_path / "out/labels.txt").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="labels.txt"):
        open_model(tmp_path / "out")


def test_the_license_is_the_publishers_statement_and_never_the_networks(copy, tmp_path):
    unstated = replace(samples.DETAILS, license=None)
    assert pack(copy, tmp_path / "random", unstated).license == "NOASSERTION"
    assert pack(copy, tmp_path / "mit", replace(samples.DETAILS, license="MIT")).license == "MIT"
    assert pack(tmp_path / "mit", tmp_path / "again", unstated).license == "MIT"  # the very same weights


def test_weights_trained_from_another_ones_need_a_stated_license(copy, tmp_path):
    source = samples.identity(copy, name="theirs", license="CC-BY-NC-4.0")
    write_run(copy, samples.identity(copy, license="CC-BY-NC-4.0"), source)
    with pytest.raises(UsageError, match="--license for weights that were trained from theirs.*CC-BY-NC-4.0"):
        pack(copy, tmp_path / "out", replace(samples.DETAILS, license=None))
    assert not (tmp_path / "out").exists()
    assert pack(copy, tmp_path / "out", replace(samples.DETAILS, license="CC-BY-NC-4.0")).license == "CC-BY-NC-4.0"
    write_run(copy, samples.identity(copy), samples.identity(copy, license="NOASSERTION"))
    assert pack(copy, tmp_path / "unknown", replace(samples.DETAILS, license=None)).license == "NOASSERTION"
