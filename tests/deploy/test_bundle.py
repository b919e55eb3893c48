"""The bundle builds and proves itself in an empty folder without Python; the published script keeps its arguments."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from glorext.deploy.contract.artifact import Port
from glorext.deploy.contract.closeness import CARD as CARD_TOLERANCE
from glorext.deploy.contract.closeness import CONVERTED
from glorext.deploy.contract.golden import golden_pixels
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.export.formats import Variant
from glorext.deploy.ship.bundle import bundle
from glorext.runtime import UsageError
from glorext.runtime.chips import FAMILIES

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def unpacked(source, native, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    archive = bundle(source, folder / "tiny.tar.gz", native.programs)
    with tarfile.open(archive) as packed:
        assert {name.split("/")[0] for name in packed.getnames()} == {"tiny"}
        packed.extractall(folder, filter="data")
    return folder / "tiny"


@pytest.fixture(scope="module")
def path_without_python(tmp_path_factory):
    """A PATH with a compiler and the shell's own tools, and no Python."""
    folder = tmp_path_factory.mktemp("bin")
    for name in (
        "sh",
        "sed",
        "cat",
        "rm",
        "tail",
        "nproc",
        "dirname",
        "cmake",
        "make",
        "g++",
        "cc",
        "gcc",
        "c++",
        "ld",
        "as",
        "ar",
        "ranlib",
        "pkg-config",
        "uname",
        "sha256sum",
        "cut",
        "wc",
        "tr",
        "chmod",
    ):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.fixture(scope="module")
def lite(native, tmp_path_factory):
    """MindSpore Lite under a name of its own, into which a converter can be put."""
    home = tmp_path_factory.mktemp("lite") / "mindspore_lite"
    home.mkdir()
    for path in native.root.iterdir():
        (home / path.name).symlink_to(path)
    return home


def selftest(folder, path, lite, *words, **more):
    return subprocess.run(
        ["./selftest.sh", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": path, "MINDSPORE_LITE_HOME": str(lite), **more},
    )


def test_it_passes_here_without_python(unpacked, path_without_python, lite):
    done = selftest(unpacked, path_without_python, lite)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS  input") == 4 and "4 of 4 inputs pass" in done.stdout
    # From here on nothing needs building again.
    expected = np.load(unpacked / "golden_output.npy")
    wrong = expected.copy()
    wrong[2, 5] += 0.01
    np.save(unpacked / "golden_output.npy", wrong)
    done = selftest(unpacked, path_without_python, lite)
    np.save(unpacked / "golden_output.npy", expected)
    assert done.returncode == 1 and "FAIL  input 2" in done.stdout and "3 of 4 inputs pass" in done.stdout
    done = selftest(unpacked, path_without_python, lite, "ascend310")
    assert done.returncode == 1 and "libascendcl" in done.stderr, "never the CPU in a card's place"


def test_the_limits_are_those_of_deployment_for_every_device(unpacked):
    on_card = "".join(f"{family} {CARD_TOLERANCE}\n" for family in FAMILIES)
    assert (unpacked / "LIMITS").read_text() == f"cpu {CONVERTED}\n{on_card}"
    assert f"{CONVERTED} on the CPU, {CARD_TOLERANCE} on a card" in (unpacked / "README.txt").read_text()


def test_wrong_calls_are_told(unpacked, path_without_python, lite):
    for device in ("tpu", ".*", "ascend"):
        assert selftest(unpacked, path_without_python, lite, device).returncode == 2
    done = selftest(unpacked, path_without_python, lite, MINDSPORE_LITE_HOME="")
    assert done.returncode == 2 and "MINDSPORE_LITE_HOME" in done.stderr


def test_the_same_model_gives_the_same_sources_and_modes(unpacked):
    assert os.access(unpacked / "selftest.sh", os.X_OK)
    assert (unpacked / "cpp" / "src" / "sha256.cc").read_bytes() == (
        files("glorext.deploy") / "cpp" / "src" / "sha256.cc"
    ).read_bytes()


def script(*words, **environment):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(files("glorext.deploy") / "scripts" / "run_infer_310.sh"), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, **environment},
    )


def test_the_published_script_prints_the_published_line(converted, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script(converted / "tiny_lite.mindir", pictures, 0, GLOREXT_DEVICE="cpu")
    assert done.returncode == 0 and "Total data: 40, top1 accuracy: " in done.stdout, done.stderr
    assert (tmp_path / "result_Files" / "results.json").is_file()


def test_the_published_script_fails_with_its_steps(converted, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script(converted / "tiny_lite.mindir", pictures, 0)
    assert done.returncode == 1 and "libascendcl" in done.stderr, "without a card the script must fail"
    assert script(converted / "tiny_lite.mindir").returncode == 2
    assert script(converted / "tiny_lite.mindir", pictures, "first").returncode == 2
    assert script(tmp_path / "none.mindir", pictures, 0).returncode == 2


CARD = AscendOptions("ascend310", (1, 4, 8), aipp=True)


@pytest.fixture(scope="module")
def for_card(source, unpacked, native, tmp_path_factory):
    """A bundle of probabilities for an Ascend 310 with AIPP, unpacked over the other one: its programs are built."""
    archive = bundle(
        source, tmp_path_factory.mktemp("card") / "card.tar.gz", native.programs, Variant(softmax=True), CARD
    )
    with tarfile.open(archive) as packed:
        packed.extractall(unpacked.parent, filter="data")
    return unpacked


def test_a_bundle_of_probabilities_passes_on_the_cpu_and_never_takes_it_for_the_card(
    for_card, path_without_python, lite
):
    done = selftest(for_card, path_without_python, lite)
    assert done.returncode == 0 and "4 of 4 inputs pass" in done.stdout, done.stderr
    assert f"cpu {10 * CONVERTED}\n" in (for_card / "LIMITS").read_text()
    assert float(re.search(r"limit (\S+)\)", done.stdout)[1]) < 1e-3, (
        "probabilities are held against the largest of them"
    )
    done = selftest(for_card, path_without_python, lite, "ascend310p")
    assert done.returncode == 2 and "for ascend310, not ascend310p" in done.stderr
    done = selftest(for_card, path_without_python, lite, "ascend310")
    assert done.returncode == 2 and "CANN is not set up here: install CANN" in done.stderr
    done = selftest(for_card, path_without_python, lite, "ascend310", ASCEND_HOME_PATH=str(for_card))
    assert done.returncode == 1 and "cannot convert tiny_softmax.onnx" in done.stderr, "no CANN lies there"


@pytest.mark.parametrize("place", ["cann", "ascend-toolkit"])
def test_where_cann_lies_but_is_not_set_up_what_to_source_is_said(for_card, path_without_python, lite, tmp_path, place):
    script = tmp_path / "Ascend" / place / "set_env.sh"
    script.parent.mkdir(parents=True)
    script.touch()
    for stale in ({}, {"ASCEND_HOME_PATH": str(tmp_path / "gone")}):
        done = selftest(for_card, path_without_python, lite, "ascend310", HOME=str(tmp_path), **stale)
        assert done.returncode == 2 and f"CANN is not set up here: run: source {script}" in done.stderr


@pytest.mark.parametrize(
    "manager, named", [("apt-get", "libjpeg-dev libpng-dev"), ("dnf", "gcc-c++ cmake make libjpeg-turbo-devel")]
)
def test_what_is_missing_is_named_as_this_system_names_it(unpacked, lite, tmp_path, manager, named):
    for name in ("sh", "sed", "dirname", "cat", "tail", "nproc"):
        (tmp_path / name).symlink_to(shutil.which(name))
    (tmp_path / manager).write_text("#!/bin/sh\n")
    (tmp_path / manager).chmod(0o755)
    done = selftest(unpacked, str(tmp_path), lite)
    assert done.returncode == 1 and f"cmake is missing: {manager} install " in done.stderr and named in done.stderr


def test_a_bundle_is_not_made_whose_converter_would_not_keep_the_list(source, tmp_path):
    card = AscendOptions("ascend310", (1, 4), keep_fp32=("head.fc",))
    with pytest.raises(UsageError, match="takes no list of layers.*--keep_fp32"):
        bundle(source, tmp_path / "card.tar.gz", card=card)
    assert not list(tmp_path.iterdir())


def test_the_card_gets_pixels_configuration_and_atcs_command(for_card, source):
    card = for_card / "card"
    assert (np.load(card / "golden_input.npy") == golden_pixels(32).transpose(0, 3, 1, 2)).all()
    config = (card / "ascend.cfg").read_text()
    assert "insert_op_config_file_path=aipp.cfg" in config and "min_chn_0" in (card / "aipp.cfg").read_text()
    assert (
        "--soc_version=Ascend310 " in (card / "atc.sh").read_text() and "--framework=5" in (card / "atc.sh").read_text()
    )


def test_what_the_converter_writes_on_the_card_gets_its_contract(for_card, tmp_path, path_without_python):
    """A stand-in for converter_lite shows what it is told; the contract it leaves is read as any other."""
    from glorext.deploy.contract.artifact import read_artifact
    from glorext.deploy.convert.run_converter import converter_command
    from glorext.deploy.runners.find_lite import Lite
    from glorext.deploy.runners.programs import Programs

    tool = tmp_path / "sdk" / "tools" / "converter" / "converter" / "converter_lite"
    tool.parent.mkdir(parents=True)
    tool.write_text(
        '#!/bin/sh\nfor word in "$@"; do echo "$word"; done >told\necho compiled >tiny_softmax_ascend310.mindir\n'
    )
    tool.chmod(0o755)
    done = subprocess.run(
        ["./convert.sh"],
        cwd=for_card,
        capture_output=True,
        text=True,
        env={
            "PATH": path_without_python,
            "MINDSPORE_LITE_HOME": str(tmp_path / "sdk"),
            "ASCEND_HOME_PATH": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    model = for_card / "card" / "tiny_softmax_ascend310.mindir"
    artifact = read_artifact(model)
    assert artifact.input == Port("image", "uint8", (-1, 32, 32, 3), "NHWC", "pixels") and artifact.size == 9
    assert artifact.output.name == "probabilities" and artifact.source["file"] == "tiny_softmax.onnx"
    exported = replace(artifact, format="onnx")
    programs = Programs.below(Path(), Lite(Path(), "2.0.0", "", tool))
    wanted = converter_command(
        Path("tiny_softmax.onnx"), Path("tiny_softmax_ascend310"), "mindir", exported, programs, Path("ascend.cfg")
    )
    assert sorted((for_card / "card" / "told").read_text().splitlines()) == sorted(wanted[1:])


@pytest.fixture
def on_stand_in(for_card, path_without_python, lite, ascendcl, tmp_path):
    """Converts and tests the bundle on the AscendCL stand-in, not a card; (what was done, the batches executed)."""
    pytest.importorskip("onnxruntime", reason="the stand-in's models know its answers")
    tool = lite / "tools" / "converter" / "converter" / "converter_lite"
    tool.parent.mkdir(parents=True)
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).parent}/ascendcl/converter.py" "$@"\n')
    tool.chmod(0o755)
    np.save(tmp_path / "pixels.npy", golden_pixels(32))

    def call(**more):
        log = tmp_path / "log"
        log.write_text("")
        answers = {"STAND_IN_CHIP": "Ascend310", "STAND_IN_PIXELS": str(tmp_path / "pixels.npy")}
        answers |= {
            "LD_LIBRARY_PATH": str(ascendcl),
            "STAND_IN_LOG": str(log),
            "ASCEND_HOME_PATH": str(tmp_path),
        } | more
        (for_card / "card" / "tiny_softmax_ascend310.mindir.json").unlink(missing_ok=True)
        done = selftest(for_card, path_without_python, lite, "ascend310", **answers)
        return done, [int(line) for line in log.read_text().split()]

    yield call
    shutil.rmtree(lite / "tools")


def test_the_bundle_converts_and_proves_every_prepared_size(on_stand_in):
    done, executed = on_stand_in()
    assert done.returncode == 0, done.stdout + done.stderr
    assert executed == [1, 1, 1, 1, 4, 8] and done.stdout.count("4 of 4 inputs pass") == 3
    assert done.stdout.count("selftest: it ran on ascend310 (AscendCL stand-in, not a card)") == 3
    assert "per second on ascend310 (AscendCL stand-in, not a card)" in done.stderr
    done, executed = on_stand_in(STAND_IN_WRONG="8")
    assert done.returncode == 1 and executed == [1, 1, 1, 1, 4, 8] and "0 of 4 inputs pass" in done.stdout
    done, executed = on_stand_in(STAND_IN_CHIP="Ascend310P3")
    assert done.returncode == 1 and executed == [] and "the chip of this machine is Ascend310P3" in done.stderr


def test_a_package_for_the_device_side_is_refused_for_a_card(unpacked, path_without_python, tmp_path):
    (tmp_path / "runtime" / "lib").mkdir(parents=True)
    (tmp_path / "runtime" / "lib" / "libmindspore-lite.so").touch()
    done = selftest(unpacked, path_without_python, tmp_path, "ascend310")
    assert done.returncode == 2 and "drives no card: take MindSpore Lite's cloud-side inference" in done.stderr


def test_what_the_card_cannot_run_is_refused_before_the_work(source, native, tmp_path):
    with pytest.raises(UsageError, match="normalize again"):
        bundle(source, tmp_path / "x.tar.gz", native.programs, Variant(pixels="float32"), CARD)
    assert not list(tmp_path.iterdir())
