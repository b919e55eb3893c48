"""From a run to a verified package: same bytes for same inputs, evidence instead of claims, nothing half-written."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from glorext import models
from glorext.hub.manifest import read_manifest
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.verify import verify
from glorext.models.trained import write_run
from glorext.runtime import (
    CheckpointError,
    DataError,
    IntegrityError,
    NotFoundError,
    PackageError,
    UsageError,
    cli,
    sha256_file,
    write_json,
)

from . import samples
from .samples import ARGUMENTS, DETAILS, LABELS, evaluation


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(run, tmp_path):
    """A run folder of the test's own."""
    return shutil.copytree(run, tmp_path / "run")


def test_packing_twice_gives_the_same_bytes(run, tmp_path):
    pack(run, tmp_path / "one", DETAILS)
    pack(run, tmp_path / "two", DETAILS)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_place_time_zone_locale_and_umask_of_the_packer_do_not_matter(copy, tmp_path, python):
    script = """
import os, sys
os.umask(int(sys.argv[1], 8))
from glorext.runtime import cli
sys.exit(cli.main(["pack", sys.argv[2], "--name", "tiny-digits", "--version", "1.0.0", "--out", sys.argv[3]]))"""
    trained = json.loads((copy / "model.json").read_bytes())
    write_json(copy / "model.json", trained | {"date": "2026-01-02"})
    moved = shutil.copytree(copy, tmp_path / "elsewhere/with space")
    for number, (run, setting) in enumerate(
        [
            (copy, {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1", "HOME": tmp_path}),
            (moved, {"TZ": "America/Los_Angeles", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "USER": "somebody"}),
        ]
    ):
        # a copy by `cp -r`, by git or by an archive is younger than the training
        os.utime(run / "best.ckpt", (1_767_312_060 + number * 10**6, 1_767_312_060 + number * 10**6))
        code, _, err = python(script, "0077" if number else "0002", run, tmp_path / f"out{number}", **setting)
        assert code == 0, err
    assert tree(tmp_path / "out0") == tree(tmp_path / "out1")
    assert "update-time: '2026-01-02'" in (tmp_path / "out0/card.md").read_text()
    verify(tmp_path / "out1")


def test_package_holds_what_the_run_made(package, run):
    manifest, evidence = verify(package)
    assert (manifest.name, manifest.version, manifest.network) == ("tiny-digits", "1.0.0", "resnext50")
    assert manifest.network_args == ARGUMENTS
    assert (manifest.input_spec.size, manifest.input_spec.resize) == (32, 32)
    assert manifest.weights_sha256 == models.weights_digest(run / "best.ckpt")
    assert manifest.versions["mindspore"] == "2.10.0"
    assert (evidence.top1, evidence.count) == (0.98, 100)
    assert (package / "labels.txt").read_text().splitlines() == LABELS
    assert manifest.license == "Apache-2.0"
    assert set(tree(package)) == {"manifest.json", *manifest.files}


def test_training_state_and_layout_of_the_run_do_not_reach_the_package(copy, tmp_path, package):
    import numpy as np

    weights = models.read_checkpoint(copy / "best.ckpt").weights
    state = {f"moments.{name}": np.zeros_like(array) for name, array in weights.items()} | {"global_step": np.int32(7)}
    models.save_checkpoint({f"network.{name}": array for name, array in weights.items()} | state, copy / "best.ckpt")
    pack(copy, tmp_path / "again", DETAILS)
    assert sha256_file(tmp_path / "again/tiny-digits.ckpt") == sha256_file(package / "tiny-digits.ckpt")


def test_a_checkpoint_of_another_layout_keeps_its_arithmetic(copy, tmp_path):
    """torchvision pads the stem's pool on all sides; the package must say so, since its names no longer do."""
    from glorext.hub import load

    models.save_checkpoint(models.read_checkpoint(copy / "best.ckpt").weights, copy / "best.ckpt", naming="torchvision")
    (copy / "eval.json").unlink()
    assert pack(copy, tmp_path / "out", DETAILS).network_args["stem_pool"] == "torch"
    import mindspore as ms

    x = ms.ops.ones((1, 3, 32, 32))
    whole = models.create("resnext50", checkpoint=copy / "best.ckpt", num_classes=10, **ARGUMENTS).set_train(False)
    assert (load(tmp_path / "out")(x) == whole(x)).all()


def test_evidence_is_on_the_card_and_others_results_are_called_published(package):
    card = (package / "card.md").read_text()
    assert "| top-1 | 98.00 % |" in card and "| pictures scored | 100 |" in card
    assert "Published, not measured here" in card
    assert "accuracy: 98.0" in card


def test_a_data_folder_of_any_name_fits_on_the_card(copy, tmp_path):
    write_json(
        copy / "eval.json", evaluation(copy, data={"folder": "\u6570\u5b57 | a", "count": 100, "sha256": "0" * 64})
    )
    pack(copy, tmp_path / "out", DETAILS)
    assert "| data | \\u6570\\u5b57 / a, sha256" in (tmp_path / "out/card.md").read_text()


def test_without_evaluation_no_accuracy_is_claimed(copy, tmp_path):
    (copy / "eval.json").unlink()
    pack(copy, tmp_path / "out", DETAILS)
    card = (tmp_path / "out/card.md").read_text()
    assert "was not measured" in card and "accuracy:" not in card
    assert verify(tmp_path / "out")[1] is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"weights_sha256": "0" * 64}, "weights_sha256"),
        ({"preprocessing_sha256": "0" * 64}, "preprocessing_sha256"),
        ({"labels_sha256": "0" * 64}, "labels_sha256"),
        ({"network": "glore_res50"}, "network"),
        ({"count": 99}, "every picture of the data set scored once"),
        ({"data": {"folder": "val", "count": 101, "sha256": "0" * 64}}, "every picture of the data set scored once"),
        ({"top1": 0.99}, "confusion"),
        ({"top1": 1.5}, "0 <= top1"),
        ({"confusion": [[98, 2], [0, 0]], "classes": None}, "a row for each of 10 classes"),
        ({"classes": []}, "classes"),
        ({"calibration": {"ece": 0.0, "bins": []}}, "calibration"),
        ({"schema": "mine/1"}, "schema"),
        ({"count": "100"}, "count"),
    ],
)
def test_evidence_for_something_else_is_refused(copy, tmp_path, changes, words):
    write_json(copy / "other.json", evaluation(copy, **changes))
    with pytest.raises(PackageError, match=words):
        pack(copy, tmp_path / "out", DETAILS, evidence=copy / "other.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.json", "labels.txt", "best.ckpt"])
def test_a_run_that_lacks_a_part_is_refused(copy, tmp_path, name):
    (copy / name).unlink()
    with pytest.raises((PackageError, DataError, CheckpointError)):
        pack(copy, tmp_path / "out", DETAILS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_checkpoint_of_another_network_is_refused(copy, tmp_path):
    other = models.create("resnext50", num_classes=10, **{**ARGUMENTS, "layers": (1, 1, 2, 1)})
    models.save_checkpoint(other, copy / "best.ckpt")
    with pytest.raises(CheckpointError, match="model.json says"):
        pack(copy, tmp_path / "out", DETAILS)
    write_run(copy, samples.identity(copy), None)
    (copy / "eval.json").unlink()
    with pytest.raises(CheckpointError, match="unexpected"):
        pack(copy, tmp_path / "out", DETAILS)


def test_truncated_checkpoint_is_refused(copy, tmp_path):
    data = (copy / "best.ckpt").read_bytes()
    (copy / "best.ckpt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        pack(copy, tmp_path / "out", DETAILS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "details",
    [
        replace(DETAILS, name="../evil"),
        replace(DETAILS, name="Big"),
        replace(DETAILS, name="a" * 65),
        replace(DETAILS, version="1.0"),
        replace(DETAILS, version="latest"),
    ],
)
def test_impossible_names_and_versions_are_usage_errors(run, tmp_path, details):
    with pytest.raises(UsageError):
        pack(run, tmp_path / "out", details)


@pytest.mark.parametrize(
    "details, key",
    [
        *[
            (replace(DETAILS, summary=text), "--summary")
            for text in (
                "a: b",
                "of M\u00fcller",
                "",
                " ",
                " a",
                "two\nlines",
                "two\rlines",
                "form\x0cfeed",
                "--- a rule",
                "# heading",
                "```",
                "| cell",
                "> quote",
                "x" * 501,
                "\x1b[31mred",
                "tab\there",
            )
        ],
        (replace(DETAILS, author="a:b"), "--author"),
        (replace(DETAILS, author="M\u00fcller"), "--author"),
        *[
            (replace(DETAILS, repo_link=link), "--repo-link")
            for link in (
                "https://example.org/a/b",
                "https://example.com/a/b/",
                "https://example.com/a",
                "https://example.com/a/..",
                "https://example.com/a/.hidden",
                "https://example.com/a/card.md",
                "https://example.com/a/Artifacts",
                "https://example.com/a/caf\u00e9",
                "file:///etc/passwd",
                "https://example.com/a/-rf",
            )
        ],
        *[(replace(DETAILS, date=date), "--date") for date in ("today", "2026-13-01", "01.02.2026", "2026-01-01: x")],
        *[
            (replace(DETAILS, base_url=url), "--base-url")
            for url in ("models", "https://a b", "https://a/?x", "ftp://a")
        ],
    ],
)
def test_what_the_official_card_cannot_carry_is_refused(run, tmp_path, details, key):
    with pytest.raises(UsageError, match=key):
        pack(run, tmp_path / "out", details)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_not_touched(run, package):
    before = tree(package)
    with pytest.raises(UsageError):
        pack(run, package, DETAILS)
    assert tree(package) == before


def artifacts(folder, manifest, **changes):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"onnx")
    write_json(
        folder / "model.onnx.json",
        {
            "sha256": changes.pop("sha256", sha256_file(folder / "model.onnx")),
            "model": manifest.identity().to_dict() | changes,
        },
    )
    return folder


def test_artifacts_travel_with_the_package(run, package, tmp_path):
    folder = artifacts(tmp_path / "made", read_manifest(package))
    manifest = pack(run, tmp_path / "out", DETAILS, artifacts=folder)
    assert {"artifacts/model.onnx", "artifacts/model.onnx.json"} <= set(manifest.files)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("sha256", "0" * 64, "sha256"),
        ("weights_sha256", "0" * 64, "another weights"),
        ("labels_sha256", "0" * 64, "another labels"),
        ("input_spec", models.InputSpec(size=32, resize=40).to_dict(), "another input spec: resize 40 instead of .*32"),
        ("network_args", {}, "another arguments"),
    ],
)
def test_artifacts_of_something_else_are_refused(run, package, tmp_path, key, value, words):
    folder = artifacts(tmp_path / "made", read_manifest(package), **{key: value})
    with pytest.raises(PackageError, match=words):
        pack(run, tmp_path / "out", DETAILS, artifacts=folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "card.md", "labels.txt", "eval.json", "tiny-digits.ckpt", "ResNeXt/mindspore_hub_conf.py"]
)
def test_verify_finds_any_missing_or_changed_file(package, name):
    data = (package / name).read_bytes()
    (package / name).unlink()
    with pytest.raises(PackageError):
        verify(package)
    (package / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises((PackageError, IntegrityError)):
        verify(package)
    (package / name).write_bytes(data[:-1])
    with pytest.raises((PackageError, IntegrityError)):
        verify(package)
    (package / name).write_bytes(data)
    verify(package)


def test_verify_finds_a_file_that_nobody_listed(package):
    (package / "ResNeXt/sitecustomize.py").write_text("print('hello')")
    with pytest.raises(PackageError, match="sitecustomize"):
        verify(package)


def forge(package, **changes):
    """Change files of a package and make the manifest fit them, as a forger would."""
    manifest = json.loads((package / "manifest.json").read_bytes())
    for name, data in changes.pop("files", {}).items():
        (package / name).write_bytes(data)
        manifest["files"][name] = {"size": len(data), "sha256": sha256_file(package / name)}
    write_json(package / "manifest.json", manifest | changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\nimport os\n",
        lambda text: text.replace(b"def create_network", b"def  create_network"),
        lambda text: text.replace(b"ARGUMENTS = {", b"ARGUMENTS = {'groups': 1, "),
        lambda text: b"",
    ],
)
def test_verify_and_publish_refuse_another_entry_point(package, tmp_path, change):
    """MindSpore Hub's client runs it, so a manifest that lists its digest is not enough."""
    name = "ResNeXt/mindspore_hub_conf.py"
    data = (package / name).read_bytes()
    forge(package, files={name: change(data)})
    for check in (verify, lambda folder: publish(folder, tmp_path / "fresh")):
        with pytest.raises(PackageError, match="the entry point that `glorext pack` writes"):
            check(package)
    assert not (tmp_path / "fresh/index.json").exists()
    forge(package, files={name: data})
    publish(package, tmp_path / "fresh")


def test_author_and_license_are_only_what_the_publisher_says(run, tmp_path):
    pack(run, tmp_path / "out", replace(DETAILS, author=None, license=None))
    card = (tmp_path / "out/card.md").read_text()
    assert "author: not stated\n" in card and "user-id: not stated\n" in card and "license: NOASSERTION\n" in card
    with pytest.raises(UsageError, match="--license"):
        pack(run, tmp_path / "other", replace(DETAILS, license="a: b"))


def test_verify_and_publish_say_where_the_network_is_not_the_installed_one(package, tmp_path, capsys, caplog):
    assert cli.main(["verify", str(package)]) == 0
    assert "not the source" not in capsys.readouterr().out
    (source,) = package.glob("ResNeXt/glorext_*/resnext.py")
    name = str(source.relative_to(package))
    forge(package, files={name: source.read_bytes() + b"\nimport os\n", "ResNeXt/numpy.py": b"import os\n"})
    assert cli.main(["verify", str(package)]) == 0
    assert "not the source of the network as glorext" in (out := capsys.readouterr().out)
    assert f": {name}, ResNeXt/numpy.py." in out
    assert cli.main(["verify", str(package), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differing_sources"] == [name, "ResNeXt/numpy.py"]
    publish(package, tmp_path / "fresh")
    assert name in caplog.text and "ResNeXt/numpy.py" in caplog.text


def test_verify_finds_a_card_that_claims_another_accuracy(package):
    card = (package / "card.md").read_bytes().replace(b"accuracy: 98.0", b"accuracy: 99.9")
    forge(package, files={"card.md": card})
    with pytest.raises(PackageError, match="card.md: accuracy"):
        verify(package)


def test_verify_finds_training_curves_that_are_none(package):
    forge(package, files={"metrics.jsonl": b'{"event": "epoch", "epoch": 1, "loss": "<b>"}\n'})
    with pytest.raises(PackageError, match="metrics.jsonl, line 1"):
        verify(package)


def test_verify_finds_an_accuracy_without_evidence(package):
    (package / "eval.json").unlink()
    manifest = json.loads((package / "manifest.json").read_bytes())
    del manifest["files"]["eval.json"]
    write_json(package / "manifest.json", manifest | {"evidence": None})
    with pytest.raises(PackageError, match="card.md: accuracy"):
        verify(package)


def test_verify_finds_other_weights_under_the_evidence(package, tmp_path):
    other = models.create("resnext50", num_classes=10, **ARGUMENTS)
    models.save_checkpoint(other, tmp_path / "other.ckpt")
    forge(package, files={"tiny-digits.ckpt": (tmp_path / "other.ckpt").read_bytes()})
    with pytest.raises(PackageError, match="weights_sha256"):
        verify(package)
    model = read_manifest(package).identity().to_dict()
    forge(package, model=model | {"weights_sha256": models.weights_digest(tmp_path / "other.ckpt")})
    with pytest.raises(PackageError, match="weights_sha256.*eval.json"):
        verify(package)


def test_verify_needs_neither_mindspore_nor_network(package, python):
    code, out, err = python(
        """
import socket, sys
def refuse(*a, **k): raise AssertionError("network")
socket.socket.connect = refuse
from glorext.runtime import cli
status = cli.main(["verify", sys.argv[1]])
assert "mindspore" not in sys.modules, "mindspore was imported"
sys.exit(status)""",
        package,
    )
    assert code == 0, err
    assert "top-1 98.00 %" in out


@pytest.mark.parametrize(
    "argv, code, words",
    [
        (["verify"], 2, "package"),
        (["verify", "/nowhere"], 1, "PackageError"),
        (["pack", "/nowhere", "--name", "x", "--version", "1.0.0", "--out", "/nowhere/x"], 1, "no such file or folder"),
        (["pack", "/nowhere", "--name", "../x", "--version", "1.0.0", "--out", "/nowhere/x"], 2, "package name"),
        (["publish", "/nowhere", "--to", "/nowhere/registry"], 1, "PackageError"),
        (["list", "--registry", "/nowhere"], 1, "RegistryError"),
        (["list", "--registry", "ftp://nowhere"], 2, "http"),
    ],
)
def test_exit_status_and_named_errors(argv, code, words, capsys):
    try:
        found = cli.main(argv)
    except SystemExit as stop:
        found = stop.code
    assert found == code
    assert words in capsys.readouterr().err


def test_three_commands_from_run_to_registry(run, tmp_path, capsys):
    out, registry = str(tmp_path / "pkg"), str(tmp_path / "registry")
    assert cli.main(["pack", str(run), "--name", "tiny-digits", "--version", "1.0.0", "--out", out]) == 0
    assert cli.main(["verify", out, "--json"]) == 0
    assert cli.main(["publish", out, "--to", registry]) == 0
    capsys.readouterr()
    assert cli.main(["list", "--registry", registry, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["version"], row["top1"], row["count"], row["evidence"]) == (
        "tiny-digits",
        "1.0.0",
        0.98,
        100,
        "measured",
    )


def test_full_disk_leaves_no_half_package(run, small_disk, capsys):
    disk = small_disk(200_000)
    assert cli.main(["pack", str(run), "--name", "tiny-digits", "--version", "1.0.0", "--out", str(disk / "pkg")]) == 1
    assert "DiskFullError" in capsys.readouterr().err
    assert list(disk.iterdir()) == []


def test_full_disk_leaves_the_registry_as_it_was(run, package, small_disk, tmp_path, capsys):
    disk = small_disk(600_000)
    assert cli.main(["publish", str(package), "--to", str(disk)]) == 0
    pack(run, tmp_path / "second", replace(DETAILS, version="1.1.0"))
    before = {name: data for name, data in tree(disk).items() if name != ".lock"}
    assert cli.main(["publish", str(tmp_path / "second"), "--to", str(disk)]) == 1
    assert "DiskFullError" in capsys.readouterr().err
    assert {name: data for name, data in tree(disk).items() if name != ".lock"} == before


def test_a_relative_folder_is_a_package_too(package, monkeypatch):
    """With a separator: a bare word is a name, whatever lies in the current folder."""
    from glorext.hub import resolve

    monkeypatch.chdir(package.parent)
    assert resolve(f"./{package.name}").folder == package
    with pytest.raises(NotFoundError, match=f"a registry that has '{package.name}'"):
        resolve(package.name)


def test_commands_tell_people_what_happened(run, package, registry, tmp_path, capsys, monkeypatch):
    def said(*argv):
        assert cli.main(list(map(str, argv))) == 0
        return capsys.readouterr().out

    assert "top-1 98.00 %, top-5 100.00 % of 100 pictures" in said("verify", package)
    assert "was already in" in said("publish", package, "--to", registry)
    assert json.loads(said("publish", package, "--to", registry, "--json"))["new"] is False
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    table = said("list").splitlines()
    assert table[1].split()[:4] == ["tiny-digits@1.0.0", "resnext50", "98.00", "%"]
    assert any("78.51 % (published)" in line for line in table)
    assert "published by MindSpore Hub, card" in said("list", "mindspore/1.10/resnext50_imagenet2012")
    assert said("list", "tiny-digits@1.0.0").startswith("name: tiny-digits\n")
    assert cli.main(["list", "nothing"]) == 1
    assert "pages: 1" in said("site", registry, tmp_path / "site")
    manifest = json.loads(said("pack", run, "--name", "x", "--version", "0.0.1", "--out", tmp_path / "x", "--json"))
    assert manifest["model"]["name"] == "x" and manifest["evidence"] == "eval.json"
