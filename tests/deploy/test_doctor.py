"""The doctor says what is there and what to do about what is not."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from glorext.deploy.doctor import examine, lite, training
from glorext.deploy.runners import ascend_host, system_packages
from glorext.deploy.runners.find_lite import Lite
from glorext.runtime import UsageError
from glorext.runtime.chips import FAMILIES, chips_of, find_chip
from glorext.runtime.device import CAP


def found(name):
    return next(finding for finding in examine.examine(ascend_host.look()) if finding.name == name)


def test_versions_are_the_installed_ones():
    import mindspore

    assert found("mindspore").found == mindspore.__version__


def test_the_onednn_cap_is_explained(monkeypatch):
    monkeypatch.setenv(CAP, "AVX512_CORE")
    monkeypatch.setattr(examine, "has_avx512", lambda: True)
    assert "set by you" in found("oneDNN").found and "slower" in found("oneDNN").found


def test_what_is_missing_comes_with_a_command_and_status_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert examine.main(["--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    findings = {finding["name"]: finding for finding in told["findings"]}
    rows = {row["where"]: row for row in told["artifacts"]}
    assert rows["the C++ program, cpu"]["loads"] == "no" and "g++" in rows["the C++ program, cpu"]["reason"]
    assert rows["MindSpore, cpu"]["loads"] == "yes"
    assert findings["g++"]["state"] == "missing" and findings["g++"]["do"] == "apt-get install g++"


def test_numpy_2_is_missing_not_ok(monkeypatch):
    monkeypatch.setattr(examine, "version", lambda name: "2.2.0")
    assert found("numpy").state == "missing" and "numpy<2" in found("numpy").do


def test_a_mindspore_that_glorext_does_not_run_with_is_missing(monkeypatch):
    monkeypatch.setattr(examine, "version", lambda name: "2.6.0" if name == "mindspore" else "1.0.0")
    row = found("mindspore")
    assert row.state == "missing" and "2.7.1 to 2.10" in row.found and row.do == 'pip install "mindspore>=2.7.1,<2.11"'


@pytest.mark.skipif(os.path.exists("/dev/davinci0"), reason="this machine has an Ascend")
def test_an_absent_card_is_not_a_failure(capsys):
    examine.main([])
    out = capsys.readouterr().out
    assert found("Ascend card").state == found("CANN").state == "absent"
    assert "--target ascend310 " in out and "no /dev/davinci*" in out


NPU_SMI = Path(__file__).parent / "npu_smi"
SHOWN = {
    "310": ["310", "310"],
    "310P3": ["310P3", "310P3"],
    "310B4": ["310B4"],
    "910A": ["910A", "910A"],
    "910ProB": ["910ProB", "910ProB"],
    "910B3": ["910B3", "910B3"],
    "910B4-1": ["910B4-1", "910B4-1"],
    "A3": ["Ascend910", "Ascend910"],
}


@pytest.mark.parametrize("chip", SHOWN)
def test_chips_are_read_from_the_table_of_npu_smi(chip):
    rows = ascend_host.parse_npu_smi((NPU_SMI / f"{chip}.txt").read_text())
    assert [name for _, name in rows] == SHOWN[chip]


def test_a_driver_that_does_not_answer_shows_no_chip():
    assert ascend_host.parse_npu_smi("dcmi module initialize failed. ret is -8005") == []
    assert ascend_host.parse_board("dcmi module initialize failed. ret is -8005") is None


@pytest.fixture
def npu_smi(tmp_path, monkeypatch):
    """Puts an npu-smi on PATH that prints the files of a chip, and no libascendcl."""

    def put(chip):
        program = tmp_path / "npu-smi"
        board = NPU_SMI / f"{chip}_board.txt"
        program.write_text(
            "#!/bin/sh\n"
            f'case "$*" in info) cat "{NPU_SMI}/{chip}.txt";; '
            f'"info -t board -i 0 -c 0") cat "{board}";; *) exit 1;; esac\n'
        )
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(ascend_host, "_by_acl", lambda: (None, None, "no libascendcl.so"))
    return put


@pytest.mark.parametrize("chip", SHOWN)
def test_the_chip_has_the_name_that_ascendcl_gives_it(npu_smi, chip):
    npu_smi(chip)
    seen = ascend_host.look()
    soc = "Ascend910_9392" if chip == "A3" else f"Ascend{chip}"
    assert (seen.soc, seen.soc_source) == (soc, "npu-smi")
    assert find_chip(seen.soc).family == seen.target and ascend_host.chip_here(seen.target) == soc
    others = set(FAMILIES) - {seen.target}
    assert not any(map(ascend_host.chip_here, others))


def test_an_a3_that_shows_no_board_has_a_family_but_no_chip(npu_smi, tmp_path):
    npu_smi("A3")
    (tmp_path / "npu-smi").write_text(f'#!/bin/sh\n[ "$*" = info ] && cat "{NPU_SMI}/A3.txt"\n')
    assert ascend_host.look().soc == "Ascend910" and ascend_host.look().target == "ascend910"
    assert ascend_host.chip_here("ascend910") is None


@pytest.fixture
def ascend(tmp_path, monkeypatch):
    """A tree as Ascend's installers leave it: driver, firmware, toolkit, and two device nodes."""
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    monkeypatch.delenv("ASCEND_TOOLKIT_HOME", raising=False)
    home = tmp_path / "Ascend" / "ascend-toolkit" / "latest"
    info = home / f"{os.uname().machine}-linux" / "ascend_toolkit_install.info"
    files = {
        "driver/version.info": "Version=23.0.rc2\nascendhal_version=7.13.28\naicpu_version=1.0\n",
        "firmware/version.info": "Version=6.4.0.4.220\nfirmware_version=1.0\n",
    }
    for name, text in files.items():
        (tmp_path / "Ascend" / name).parent.mkdir(parents=True)
        (tmp_path / "Ascend" / name).write_text(text)
    info.parent.mkdir(parents=True)
    info.write_text("package_name=Ascend-cann-toolkit\nversion=7.0.0\ninnerversion=V100R001C15\n")
    (tmp_path / "dev").mkdir()
    for name in ("davinci0", "davinci1", "davinci_manager"):
        (tmp_path / "dev" / name).touch()
    monkeypatch.setattr(ascend_host, "ROOT", tmp_path / "Ascend")
    monkeypatch.setattr(ascend_host, "DEVICES", tmp_path / "dev")
    return home


def test_versions_of_driver_firmware_and_cann_are_read_from_their_files(ascend):
    seen = ascend_host.look()
    assert (seen.devices, seen.driver, seen.firmware, seen.cann, seen.cann_home) == (
        2,
        "23.0.rc2",
        "6.4.0.4.220",
        "7.0.0",
        ascend,
    )
    (ascend / f"{os.uname().machine}-linux" / "ascend_toolkit_install.info").unlink()
    (ascend / "compiler").mkdir()
    (ascend / "compiler" / "version.info").write_text("Version=[7.1.0.1.206]\nversion_dir=CANN-7.0\n")
    assert ascend_host.look().cann == "7.1.0.1.206"


def test_the_toolkit_that_the_environment_names_comes_first(ascend, tmp_path, monkeypatch):
    other = tmp_path / "cann8"
    other.mkdir()
    (other / "version.info").write_text("Version=8.0.RC1\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(other))
    assert (ascend_host.look().cann, ascend_host.look().cann_home) == ("8.0.RC1", other)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "gone"))
    assert ascend_host.look().cann is None and "gone" in found("CANN").found and found("CANN").state == "missing"


@pytest.mark.skipif(ascend_host.look().acl is None, reason="this machine has CANN")
def test_a_card_whose_library_does_not_load_is_missing_cann_and_loads_nothing(ascend):
    seen = ascend_host.look()
    findings = examine.examine(seen)
    cann = next(finding for finding in findings if finding.name == "CANN")
    assert cann.state == "missing" and "libascendcl.so" in cann.found and cann.do.endswith("ascend-toolkit/set_env.sh")
    row = next(row for row in examine.loadings(findings, seen) if row.where.endswith("ascend310"))
    assert row.loads == "no" and row.reason.startswith("CANN: 7.0.0")


@pytest.mark.parametrize(
    "soc, target",
    [
        ("Ascend310", "ascend310"),
        ("Ascend310P3", "ascend310p"),
        ("Ascend310B4", "ascend310b"),
        ("Ascend910B3", "ascend910"),
        (None, None),
    ],
)
def test_only_the_model_for_this_chip_loads(ascend, soc, target):
    seen = dataclasses.replace(ascend_host.look(), cann="6.3.RC2", soc=soc, soc_source="CANN", acl=None)
    assert seen.target == target
    findings = examine.examine(seen)
    rows = {row.where.split()[-1]: row for row in examine.loadings(findings, seen) if "--target" in row.artifact}
    if any(finding.state != "ok" for finding in findings if finding.name in ("MindSpore Lite", "g++", "cmake")):
        pytest.skip("the C++ program cannot be built here")
    assert [name for name, row in rows.items() if row.loads == "yes"] == ([target] if target else [])


def test_a_mindspore_lite_without_the_plugin_loads_nothing_on_a_card(ascend, monkeypatch, tmp_path):
    monkeypatch.setattr(examine, "locate", lambda fetch: Lite(tmp_path, "2.3.1", "MINDSPORE_LITE_HOME"))
    seen = dataclasses.replace(ascend_host.look(), soc="Ascend310P3", soc_source="CANN", acl=None)
    findings = examine.examine(seen)
    lite = next(finding for finding in findings if finding.name == "MindSpore Lite")
    assert lite.state == "ok" and "2.3.1, for the CPU alone: no plugin for Ascend cards" in lite.found
    if any(finding.state != "ok" for finding in findings if finding.name in ("g++", "cmake")):
        pytest.skip("the C++ program cannot be built here")
    row = next(row for row in examine.loadings(findings, seen) if row.where.endswith("ascend310p"))
    assert row.loads == "no" and "no plugin for Ascend cards" in row.reason


def test_the_toolkit_of_cann_9_and_what_sets_up_either_is_found(ascend, tmp_path):
    assert ascend_host.look().set_env == ascend.parent / "set_env.sh"
    newer = tmp_path / "Ascend" / "cann"
    (newer / "compiler").mkdir(parents=True)
    (newer / "compiler" / "version.info").write_text("Version=9.0.0\n")
    seen = ascend_host.look()
    assert (seen.cann, seen.cann_home, seen.set_env) == ("9.0.0", newer, newer / "set_env.sh")


SDK, BARE = Path("/opt/mindspore-lite"), Path("/opt/bare")


@pytest.mark.parametrize(
    "soc, version, cann, state, told",
    [
        ("Ascend310", "2.0.0", "6.3.RC2", "ok", "MindSpore Lite 2.0 (with CANN 6); found 2.0.0"),
        ("Ascend310", "2.0.0", None, "ok", "found 2.0.0"),
        ("Ascend310", "2.0.0", "8.2.RC1", "missing", "linked to CANN 6, and CANN 8.2.RC1 is here -> install CANN 6"),
        ("Ascend310", "2.3.1", "6.3.RC2", "missing", "found 2.3.1, which is not -> set MINDSPORE_LITE_HOME"),
        ("Ascend310P3", "2.8.0", "8.5.0", "ok", "up to 2.10 (Atlas 300I Duo); found 2.8.0"),
        ("Ascend310P3", "2.0.0", "8.5.0", "missing", "linked to CANN 6"),
        ("Ascend310P3", "2.11.0", "9.1.0", "missing", "found 2.11.0, which is not"),
        ("Ascend310P3", "unknown", "8.5.0", "missing", "found unknown, which is not"),
        ("Ascend910B3", "2.10.0", "9.0.0", "ok", "up to 2.10 (Atlas 800I A2); found 2.10.0"),
        (
            "Ascend310B4",
            "2.8.0",
            "8.5.0",
            "absent",
            "documented: nothing, and so no MindSpore Lite; found 2.8.0 -> try",
        ),
        ("Ascend310", None, "6.3.RC2", "absent", "found none -> glorext native"),
        ("Ascend310", None, "8.2.RC1", "missing", "found none -> set MINDSPORE_LITE_HOME"),
    ],
)
def test_mindspore_lite_is_held_against_what_is_documented_for_the_chip(
    ascend, monkeypatch, soc, version, cann, state, told
):
    monkeypatch.setattr(Lite, "drives_cards", property(lambda lite: lite.root == SDK))
    host = dataclasses.replace(ascend_host.look(), soc=soc, soc_source="CANN", cann=cann)
    (row,) = lite.for_chips(host, version and Lite(SDK, version, ""), None)
    assert row.name == f"MindSpore Lite for {soc}" and row.state == state and told in f"{row.found} -> {row.do}"
    if version:
        (row,) = lite.for_chips(host, Lite(BARE, version, ""), None)
        assert row.state != "ok", "without its plugin it drives no card"


def test_a_mindspore_lite_that_is_not_for_this_chip_loads_nothing(ascend, monkeypatch):
    monkeypatch.setattr(examine, "locate", lambda fetch: Lite(SDK, "2.3.1", ""))
    monkeypatch.setattr(Lite, "drives_cards", property(lambda lite: True))
    seen = dataclasses.replace(ascend_host.look(), soc="Ascend310", soc_source="CANN", acl=None)
    (row,) = [row for row in examine.loadings(examine.examine(seen), seen) if row.where.endswith("ascend310")]
    assert row.loads == "no" and row.reason.startswith("MindSpore Lite for Ascend310: documented: CANN up to 8.2.RC1")


def test_the_versions_for_a_chip_that_is_not_here_are_told_and_nothing_is_missing(ascend, capsys, monkeypatch):
    host = dataclasses.replace(ascend_host.look(), soc=None, soc_source=None)
    rows = list(lite.for_chips(host, Lite(SDK, "1.0", ""), "ascend910"))
    # One for each series, which have versions of their own.
    assert [row.name.split(", ")[1] for row in rows] == list(
        dict.fromkeys(chip.sold_as for chip in chips_of("ascend910"))
    )
    assert "missing" not in {row.state for row in rows} and "up to 2.10" in rows[1].found
    assert list(lite.for_chips(host, None, None)) == list(lite.for_chips(host, None, "cpu")) == []
    examine.main(["--target", "Ascend310P3"])
    assert "MindSpore Lite for Ascend310P3 " in capsys.readouterr().out
    with pytest.raises(UsageError, match="--target"):
        examine.main(["--target", "Ascend999"])


def test_the_chip_of_a_stand_in_is_asked_for_no_version(ascend):
    host = dataclasses.replace(ascend_host.look(), soc="Ascend310P3", soc_source="AscendCL stand-in, not a card")
    assert list(lite.for_chips(host, Lite(SDK, "1.0", ""), None)) == []


def training_on(host, monkeypatch, cann, mindspore="2.10.0", soc="Ascend910B3"):
    monkeypatch.setattr(training, "installed", lambda: mindspore)
    seen = dataclasses.replace(host, cann=cann, soc=soc, soc_source="CANN", acl=None)
    return seen, {finding.name: finding for finding in training.ascend(seen)}


@pytest.mark.parametrize(
    "mindspore, cann, state, told",
    [
        ("2.10.0", "8.2.RC1", "ok", "documented with CANN 8.2.RC1"),
        ("2.10.0", "9.1.0", "ok", "9.1"),
        ("2.7.1", "8.3.RC1", "ok", "8.3"),
        ("2.7.1", "8.5.0", "missing", "goes MindSpore 2.7.2 (Python 3.9 to 3.12) or 2.8 (Python 3.9 to 3.12) or 2.9 "),
        ("2.10.0", "8.1.RC1", "missing", "no MindSpore from 2.7.1 to 2.10 takes 8.1.RC1"),
        ("2.1.0", "9.0.0", "missing", "nothing is known of MindSpore 2.1.0"),
    ],
)
def test_mindspore_and_cann_belong_together(ascend, monkeypatch, mindspore, cann, state, told):
    pair = training_on(ascend_host.look(), monkeypatch, cann, mindspore)[1]["MindSpore with CANN"]
    assert pair.state == state and told in f"{pair.found} {pair.do}"


def test_training_on_an_ascend_needs_cann_s_wheels_and_operators(ascend, monkeypatch):
    host = ascend_host.look()
    for cann, package in (("8.2.RC1", "Ascend-cann-*kernels*"), ("8.5.0", "Ascend-cann-*ops*")):
        findings = training_on(host, monkeypatch, cann)[1]
        assert {findings[name].state for name in ("te", "hccl", "CANN's operators")} == {"missing"}
        assert package in findings["CANN's operators"].do
    assert findings["te"].do == f"pip install {ascend}/lib64/te-*-py3-none-any.whl"
    (ascend / training.OPERATORS).mkdir(parents=True)
    monkeypatch.setattr(training, "find_spec", lambda name: name)
    seen, findings = training_on(host, monkeypatch, "8.5.0")
    assert {finding.state for finding in findings.values()} == {"ok"}
    beside = [examine.Finding(name, "ok", "") for name in ("Ascend card", "Ascend driver", "CANN", "mindspore")]
    assert [row.loads for row in rows_of(seen, [*findings.values(), *beside])] == ["yes"]
    assert [row.loads for row in rows_of(seen, beside)] == ["no"]


def rows_of(host, findings):
    return [row for row in examine.loadings(findings, host) if row.where == "MindSpore, Ascend"]


def test_a_chip_for_inference_is_not_asked_for_what_trains(ascend, monkeypatch):
    seen, findings = training_on(ascend_host.look(), monkeypatch, "7.0.0", soc="Ascend310P3")
    assert findings == {}
    assert [row.reason for row in rows_of(seen, [])] == ["Ascend310P3 is for inference"]


@pytest.mark.parametrize(
    "shown, state, told",
    [
        ("NVIDIA A100-SXM4-80GB, 8.0", "ok", "capability 8.0"),
        ("NVIDIA GeForce RTX 4090, 8.9", "ok", "capability 8.9"),
        ("Tesla P4, 6.1", "ok", "capability 6.1"),
        ("Tesla M60, 5.2", "missing", "MindSpore holds code from 6.0 on"),
        ("NVIDIA H100 80GB HBM3, 9.0", "absent", "PTX for 8.6, which the driver compiles"),
        ("No devices were found", "missing", "no card"),
    ],
)
def test_a_gpu_says_what_it_is_and_which_libraries_it_lacks(tmp_path, monkeypatch, shown, state, told):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\n[ "$2" = --format=csv,noheader ] && echo "{shown}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(training.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(training, "GPU_LIBRARIES", ("libc.so.6", "libcudart.so.0.0"))
    card, there, gone = training.gpu()
    assert card.state == state and told in card.found
    assert there.state == "ok" and gone.state == "missing" and "CUDA 11" in gone.do and "libcudart.so.0.0" in gone.found


def test_a_host_with_dnf_gets_its_own_names(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_packages.install("g++", "libpng-dev") == "apt-get install g++ libpng-dev"
    (tmp_path / "dnf").touch(0o755)
    assert system_packages.install("g++", "cmake", "libpng-dev") == "dnf install gcc-c++ cmake libpng-devel"
