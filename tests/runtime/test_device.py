"""The device is chosen in one place, and the oneDNN cap is set where it helps and nowhere else."""

import os
import subprocess
import sys

import pytest

from glorext.runtime import SetupError, UsageError, device, set_device

PROBE = """
import os, logging; logging.basicConfig(level=logging.INFO)
from glorext.runtime import device
device.has_avx512 = lambda: {avx512}
print(device.cap_onednn(), device.cap_onednn(), os.environ.get("ONEDNN_MAX_CPU_ISA"))
"""


def probe(avx512, **extra):
    environment = {name: value for name, value in os.environ.items() if name != device.CAP} | extra
    return subprocess.run(
        [sys.executable, "-c", PROBE.format(avx512=avx512)], env=environment, capture_output=True, text=True, check=True
    )


def test_cap_is_set_and_logged_once_with_avx512():
    done = probe(True)
    assert done.stdout.split() == ["AVX2", "AVX2", "AVX2"]
    assert done.stderr.count("ONEDNN_MAX_CPU_ISA=AVX2") == 1


def test_the_users_own_value_stays():
    done = probe(True, ONEDNN_MAX_CPU_ISA="AVX512_CORE")
    assert done.stdout.split()[-1] == "AVX512_CORE" and not done.stderr


def test_no_cap_without_avx512():
    assert probe(False).stdout.split() == ["None", "None", "None"]


def test_numpy_2_is_refused_with_the_command_that_helps(monkeypatch):
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.0")
    with pytest.raises(SetupError, match='pip install "numpy<2"'):
        device.check_numpy()


def test_cpu_is_chosen_and_spelling_does_not_matter():
    assert set_device("cpu") == "CPU"


def test_unknown_kind_of_device_is_wrong_usage():
    with pytest.raises(UsageError, match="TPU"):
        set_device("TPU")


@pytest.mark.parametrize("name, node", [("Ascend", "davinci0"), ("GPU", "nvidia0")])
def test_a_missing_device_is_an_error_not_another_device(name, node):
    if os.path.exists(f"/dev/{node}"):
        pytest.skip(f"this machine has a {name}")
    done = subprocess.run(
        [sys.executable, "-c", f"from glorext.runtime import *; set_device('{name}')"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "DeviceError" in done.stderr and name in done.stderr


AUTO = """
import sys
from pathlib import Path
from glorext.runtime import device
device.DEV = Path(sys.argv[1])
print(device.set_device())
"""


@pytest.mark.parametrize(
    "node, wanted", [("davinci0", "Ascend"), ("nvidia0", "GPU"), ("davinci_manager", "CPU"), ("nvidiactl", "CPU")]
)
def test_a_device_that_is_there_and_cannot_be_used_is_an_error_for_auto(node, wanted, tmp_path):
    if wanted in ("Ascend", "GPU") and os.path.exists(f"/dev/{node}"):
        pytest.skip(f"this machine has a {wanted}")
    (tmp_path / node).touch()
    done = subprocess.run([sys.executable, "-c", AUTO, str(tmp_path)], capture_output=True, text=True)
    if wanted == "CPU":
        assert done.stdout.split() == ["CPU"], done.stderr
        return
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and f"DeviceError: expected a working {wanted}, as {tmp_path / node} is there" in last
    assert "--device CPU" in last and not done.stdout
    if wanted == "Ascend":
        assert "libge_runner.so: cannot open shared object file" in last
