"""`glorext acceptance`: rows that fail in every way leave the others alone, and the file says what was found."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from glorext.deploy.acceptance import command, hardware
from glorext.deploy.acceptance.checks import TABLE, checks
from glorext.deploy.acceptance.page import write_page
from glorext.deploy.acceptance.record import FAIL, NOT_RUN, PASS, Acceptance, Number, Row, read_acceptance
from glorext.deploy.acceptance.worker import Job
from glorext.deploy.doctor.finding import Finding
from glorext.deploy.runners.ascend_host import AscendHost
from glorext.runtime import DataError, UsageError

from . import rows
from .test_report import shown_in

ROOT = Path(__file__).parents[2]
LIMIT = 8
NO_CARD = AscendHost(0, None, None, None, None, False, None, None, "no libascendcl.so")


@pytest.fixture
def ways(monkeypatch):
    """Where rows.py leaves what it started, by a name of its own, and the processes of the rows find it as `rows`."""
    own = f"{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("ROWS", own)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{ROOT / 'src'}")
    left = Path(tempfile.gettempdir()) / f"left-{own}"
    yield left
    left.unlink(missing_ok=True)


def gone(left):
    try:
        return psutil.Process(int(left.read_text())).status() == psutil.STATUS_ZOMBIE  # dead, and nobody asked how
    except psutil.NoSuchProcess:
        return True


def test_a_row_that_fails_dies_or_hangs_is_told_and_the_others_go_on(ways, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "checks", lambda job: rows.TABLE)
    out = tmp_path / "out"
    assert command.main(["--out", str(out), "--limit", str(LIMIT), "--device_target", "CPU", "--target", "cpu"]) == 1
    found = read_acceptance(out / "acceptance.json")
    told = {row.name: (row.state, row.found) for row in found.rows}
    assert told.pop("good") == told.pop("good-last") == (PASS, "word of CPU")
    assert told.pop("wrong") == (FAIL, "0.5 apart, 0.1 allowed; 1 of 2 agree")
    state, text = told.pop("refused")
    assert state == FAIL and "DataError" in text and "ten pictures" in text and "nine" in text
    assert told.pop("broken") == (FAIL, "ZeroDivisionError: division by zero")
    assert told.pop("killed") == (FAIL, "ended by signal 9: so far so good")
    assert told.pop("silent") == (FAIL, "ended without an answer; it had said nothing")
    state, text = told.pop("part_killed")
    assert state == FAIL and text.endswith("ended by signal 9.")
    state, text = told.pop("unable")
    assert state == NOT_RUN and "a compiler" in text
    assert told.pop("hangs") == (
        FAIL,
        f"no answer in {LIMIT} s, so it was ended; the last that it said: waiting for a card",
    )
    assert gone(ways), "what a row started is ended with it, whichever session it is in"
    assert told.pop("good-after-killed") == (NOT_RUN, "it needs the row killed, which did not pass")
    assert told.pop("good-lacks") == (NOT_RUN, "no card here") and not told
    assert found.complete and not found.passed and not found.edited
    assert found.rows[0].numbers == (Number("speed", 12.345679, "pictures/s", found.processor),)
    assert "somebody" not in (out / "acceptance.json").read_text() + (out / "acceptance.html").read_text()
    assert "said on the way" in (out / "logs" / "good.log").read_text()
    assert "2 passed, 7 failed, 3 not run: " in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_what_was_started_and_leaves_what_was_found(ways, tmp_path, number):
    out = tmp_path / "out"
    words = [sys.executable, rows.__file__, "--out", str(out), "--device_target", "CPU", "--target", "cpu"]
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ways.exists() and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(number)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 130 and told.endswith("glorext acceptance: stopped\n")
    found = read_acceptance(out / "acceptance.json")
    assert [row.state for row in found.rows] == [PASS, NOT_RUN, NOT_RUN]
    assert found.rows[1].found == found.rows[2].found == "not reached: the command ended before it"
    assert gone(ways) and not found.complete and not found.passed
    assert "NOT COMPLETE" in (out / "acceptance.html").read_text()


def host(soc, devices=1):
    return replace(NO_CARD, devices=devices, soc=soc, soc_source="npu-smi")


@pytest.mark.parametrize(
    "card, words, device, devices, target, name",
    [
        (NO_CARD, [], "CPU", 2, "cpu", None),
        (host("Ascend910B3", 16), [], "Ascend", 8, "ascend910", "Ascend910B3"),
        (host("Ascend910B3", 16), ["--devices", "16"], "Ascend", 16, "ascend910", "Ascend910B3"),
        (host("Ascend310P3", 2), [], "CPU", 2, "ascend310p", "Ascend310P3"),
        (host("Ascend310P3", 2), ["--target", "cpu"], "CPU", 2, "cpu", None),
        # A stand-in for AscendCL, and a target that is not there, are no card.
        (replace(host("Ascend310P3", 0), soc_source="a stand-in"), [], "CPU", 2, "cpu", None),
        (NO_CARD, ["--target", "ascend310"], "CPU", 2, "ascend310", None),
    ],
)
def test_what_trains_and_infers_is_what_the_machine_has(
    card, words, device, devices, target, name, tmp_path, monkeypatch
):
    monkeypatch.setattr(command, "versions", dict)
    monkeypatch.setattr(command, "examine", lambda host: [])
    monkeypatch.setattr(command.training, "gpu_cards", lambda program: [])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    job, found = command.begun(command._options(words), card, tmp_path)
    assert (job.device, job.devices, job.target, found.card) == (device, devices, target, name)
    assert job.on == (name if device != "CPU" else found.processor)
    assert job.infers_on == (name if target != "cpu" and name else found.processor)


def test_gpus_train_and_the_processor_infers(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "versions", dict)
    monkeypatch.setattr(command, "examine", lambda host: [])
    monkeypatch.setattr(command.training, "gpu_cards", lambda program: [("NVIDIA T4", 7, 5)] * 4)
    job, found = command.begun(command._options([]), NO_CARD, tmp_path)
    assert (job.device, job.devices, job.target, found.card, job.on) == ("GPU", 4, "cpu", "NVIDIA T4", "NVIDIA T4")
    assert job.infers_on == found.processor != "NVIDIA T4"


def test_the_commit_of_the_checkout_is_told_and_none_elsewhere(tmp_path, monkeypatch):
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    head = done.stdout.strip()
    assert (command._commit() or "").removesuffix("-dirty") == head[:12]
    monkeypatch.setattr(command, "__file__", str(tmp_path / "site-packages" / "command.py"))
    assert command._commit() is None


def job(**changes):
    return Job(
        **{
            "folder": "/job",
            "device": "CPU",
            "target": "cpu",
            "devices": 2,
            "on": "a CPU",
            "infers_on": "a CPU",
            "processor": "a CPU",
            "short": False,
            **changes,
        }
    )


def test_rows_stand_after_what_they_need_and_say_what_is_lacking():
    for one in (job(), job(short=True), job(devices=1), job(target="ascend310p"), job(short=True, target="ascend310")):
        seen = set()
        for check in checks(one):
            assert set(check.after) <= seen, check
            seen.add(check.name)
    lacks = {check.name: check.lacks for check in checks(job()) if check.lacks}
    assert lacks == dict.fromkeys(("card", "card-aipp"), "no Ascend card on this machine")
    alone = {check.name for check in checks(job(devices=1, target="ascend310p")) if check.lacks}
    assert alone == {"overflow-ranks", "speed-several", "counts"}
    after = {check.name: check.after for check in checks(job(target="ascend310p"))}
    assert after["sizes"] == after["accuracy"] == ("card",) and after["card"] == ("export",)


def test_only_takes_rows_with_those_they_need():
    table = checks(job())
    assert command._wanted(table, "sizes") == {"device", "prepare", "train", "export", "convert", "sizes"}
    with pytest.raises(UsageError, match="speed of light"):
        command._wanted(table, "sizes,speed of light")


def test_every_check_is_a_function_and_the_page_has_its_row():
    from importlib import import_module

    named = set(
        re.findall(
            r"`([\w-]+)`",
            " ".join(
                line.split("|")[1]
                for line in (ROOT / "docs" / "acceptance.md").read_text().splitlines()
                if line.startswith("| `")
            ),
        )
    )
    assert named == {check.name for check in TABLE}
    for check in TABLE:
        module, name = check.place.split(":")
        assert callable(getattr(import_module(module), name))


def made(**changes):
    """What a machine with a card might have found."""
    row = Row(
        "sizes", "Offline inference", "to 0.02", PASS, "9 of 9 agree", (Number("speed", 9.5, "pictures/s", "x"),), 3
    )
    numbers = (Number("forward, " + "a rather long name of what was measured, " * 3, 1234.5, "ms", "a processor " * 4),)
    values = {
        "short": False,
        "complete": True,
        "date": "2026-01-31",
        "glorext": "0.1.0",
        "commit": "0123456789ab",
        "device": "CPU",
        "target": "ascend310p",
        "card": "Ascend310P3",
        "devices": 2,
        "processor": "A processor @ 2.00GHz",
        "machine": {"system": "Linux 6", "cores": "4", "load at the start": "0.1"},
        "versions": {"mindspore": "2.10.0"},
        "findings": (Finding("CANN", "ok", "8.5 in /usr/local/Ascend/cann, /home/somebody/x/y"),),
        "rows": (
            row,
            replace(row, name="accuracy", state=FAIL, found="verdict: FAIL " + "x" * 90, numbers=numbers),
            Row("resume", "Kill and resume", "the bits"),
        ),
    }
    return Acceptance(**values | changes)


def test_the_file_is_read_back_and_holds_no_path_of_the_machine(tmp_path):
    made().write(tmp_path / "a.json")
    found = read_acceptance(tmp_path / "a.json")
    findings = (Finding("CANN", "ok", "8.5 in /usr/local/Ascend/cann, .../y"),)
    assert found == made(findings=findings) and not found.edited


@pytest.mark.parametrize(
    "change, told",
    [
        ({"schema": "glorext.report/1"}, "glorext.acceptance/1"),
        ({"rows": []}, "at least one row"),
        ({"rows": [{"name": "x"}]}, "title"),
        ({"device": "TPU"}, "TPU"),
        ({"date": "31.1."}, "2026-01-31"),
        ({"note": 1}, "note"),
    ],
)
def test_another_file_is_refused(change, told, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({**made().to_dict(), **change}))
    with pytest.raises(DataError, match=re.escape(told)):
        read_acceptance(tmp_path / "a.json")


def test_a_number_that_was_edited_shows(tmp_path):
    values = made().to_dict()
    values["rows"][1]["state"] = PASS
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_acceptance(tmp_path / "a.json").edited
    evidence = hardware.read_evidence(tmp_path)
    for words, told in ((hardware.ENGLISH, "does not count"), (hardware.CHINESE, "不计入")):
        (row,) = [line for line in hardware.table(evidence, words).splitlines() if "310P3, 310P1" in line]
        assert told in row and "passed" not in row and "通过" not in row


def test_the_page_tells_what_was_found_and_what_was_not_shown(tmp_path):
    write_page(tmp_path / "a.html", made(target="cpu", card=None, short=True))
    text = (tmp_path / "a.html").read_text()
    for told in (
        "FAIL",
        "9 of 9 agree",
        "not reached",
        "9.5 pictures/s",
        "This is a CPU",
        "short form",
        "a chip&#39;s",
    ):
        assert told in text, told
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text) and "<script" not in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_sideways_scrolling(tmp_path, width):
    write_page(tmp_path / "a.html", made())
    assert shown_in(tmp_path / "a.html", tmp_path, width)[0] <= width


def test_the_readmes_tables_are_those_of_the_evidence():
    evidence = hardware.read_evidence(ROOT / hardware.EVIDENCE)
    for name, words in (("README.md", hardware.ENGLISH), ("README_CN.md", hardware.CHINESE)):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert hardware.with_table(text, evidence, words) == text, f"{name} is not what `make evidence` writes"
    assert not any(found.edited for found in evidence.values())


def test_evidence_fills_the_row_of_its_chip_and_no_other_and_twice_makes_no_difference(tmp_path):
    evidence = {"a.json": made(), "cpu.json": made(card=None, target="cpu", short=True, complete=False)}
    for words, told, empty in (
        (hardware.ENGLISH, "1 rows passed, 1 FAILED (accuracy), 1 not run", "not measured"),
        (hardware.CHINESE, "1 项通过，1 项失败（accuracy），1 项未运行", "未测量"),
    ):
        lines = hardware.table(evidence, words).splitlines()[2:]
        assert lines == hardware.table(dict(evidence), words).splitlines()[2:]
        measured = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in lines}
        filled = {key: text for key, text in measured.items() if text != empty}
        assert len(measured) == 8 and "CPU" in filled and [key for key in filled if "310P1" in key]
        assert len(filled) == 2 and all(told in text for text in filled.values())
        assert "2 x Ascend310P3" in next(text for key, text in filled.items() if key != "CPU")
        assert filled["CPU"].startswith(words["incomplete"] + words["short"])


def test_a_readme_without_its_marks_is_refused():
    for text in ("", hardware.BEGIN, f"{hardware.END}{hardware.BEGIN}", 2 * f"{hardware.BEGIN}{hardware.END}"):
        with pytest.raises(DataError, match="once each"):
            hardware.with_table(text, {}, hardware.ENGLISH, "README.md")
