"""The doctor says what is there and what to do about what is not."""
import json
import os

import pytest

from glorext.deploy import doctor
from glorext.runtime.device import CAP


def found(name):
    return next(finding for finding in doctor.examine() if finding.name == name)


def test_versions_are_the_installed_ones():
    import mindspore
    assert found("mindspore").found == mindspore.__version__


def test_the_onednn_cap_is_explained(monkeypatch):
    monkeypatch.setenv(CAP, "AVX512_CORE")
    monkeypatch.setattr(doctor, "has_avx512", lambda: True)
    assert "set by you" in found("oneDNN").found and "slower" in found("oneDNN").found


def test_what_is_missing_comes_with_a_command_and_status_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.main(["--json"]) == 1
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["g++"]["state"] == "missing" and findings["g++"]["do"] == "apt-get install g++"


def test_numpy_2_is_missing_not_ok(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "2.2.0")
    assert found("numpy").state == "missing" and 'numpy<2' in found("numpy").do


@pytest.mark.skipif(os.path.exists("/dev/davinci0"), reason="this machine has an Ascend")
def test_an_absent_card_is_not_a_failure(capsys):
    doctor.main([])
    assert found("Ascend").state == "absent"
