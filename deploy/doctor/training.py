"""What MindSpore needs to train on the cards of this machine: versions that belong together, and their libraries."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

from glorext.deploy.runners.ascend_host import AscendHost
from glorext.runtime.chips import find_chip
from glorext.runtime.mindspore_versions import RANGE, RELEASES, Release, installed, release_of

from .finding import Finding

# Wheels that come with CANN and that MindSpore imports on an Ascend.
OF_CANN = ("te", "hccl")
OPERATORS = "opp/built-in/op_impl/ai_core/tbe"
# What the GPU plugin of MindSpore's wheel is linked to.
GPU_LIBRARIES = ("libcudart.so.11.0", "libcudnn.so.8")
# Compute capabilities of its kernels, by the headers of the code in libcuda_ops.so.11: machine code for 6.0, 6.1, 7.0,
# 7.5 and 8.0, which runs on every later card of the same major number, and PTX for 8.6, which a driver compiles for all
# later ones. NVIDIA's own libraries have code for 9.0 since CUDA 11.8.
OLDEST_GPU, NEWEST_GPU = (6, 0), (8, 9)
PTX_GPU = (8, 6)
ON_ASCEND = ("Ascend card", "Ascend driver", "CANN", "MindSpore with CANN", *OF_CANN, "CANN's operators")
ON_GPU = ("GPU", *GPU_LIBRARIES)


def _two(cann: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", cann)[:2]))


def _is_of(cann: str, row: Release) -> bool:
    return _two(cann) in map(_two, row.cann)


def ascend(host: AscendHost) -> Iterator[Finding]:
    """Of a machine with CANN and a chip that trains: MindSpore against CANN, CANN's wheels, its operators."""
    chip = find_chip(host.soc)
    if host.cann is None or host.cann_home is None or (chip and not chip.trains):
        return
    state = "missing" if host.devices else "absent"
    yield _pair(host.cann, state)
    for name in OF_CANN:
        # As CANN's set_env.sh and MindSpore's installation guide have it.
        do = f"pip install {host.cann_home}/lib64/{name}-*-py3-none-any.whl"
        text = "not installed; a wheel that comes with CANN"
        yield Finding(name, "ok", "installed") if find_spec(name) else Finding(name, state, text, do)
    operators = host.cann_home / OPERATORS
    kind = "ops" if _two(host.cann) >= (8, 5) else "kernels"
    yield (
        Finding("CANN's operators", "ok", str(operators))
        if operators.is_dir()
        else Finding(
            "CANN's operators",
            state,
            f"no {operators}",
            f"sh Ascend-cann-*{kind}*_linux-{platform.machine()}.run --install   (of this chip; hiascend.com, CANN)",
        )
    )


def _pair(cann: str, state: str) -> Finding:
    name = "MindSpore with CANN"
    mindspore = installed()
    if mindspore is None:
        return Finding(name, state, f"no MindSpore beside CANN {cann}", _fitting(cann))
    row = release_of(mindspore)
    if row is None:
        return Finding(name, state, f"nothing is known of MindSpore {mindspore} and CANN {cann}", _fitting(cann))
    if _is_of(cann, row):
        return Finding(name, "ok", f"MindSpore {mindspore} is documented with CANN {cann}")
    text = f"MindSpore {mindspore} is documented with CANN {', '.join(row.cann)}, not with {cann}"
    return Finding(name, state, text, _fitting(cann))


def _fitting(cann: str) -> str:
    rows = [row for row in RELEASES if _is_of(cann, row)]
    if not rows:
        ends = RELEASES[-1].cann[0], RELEASES[-1].cann[-1]
        return f"install CANN {ends[0]} to {ends[1]}: no MindSpore from {RANGE} takes {cann}"
    names = [f"{row.mindspore} (Python 3.{row.python[0]} to 3.{row.python[1]})" for row in rows]
    return f"with CANN {cann} goes MindSpore {' or '.join(names)}"


def gpu() -> Iterator[Finding]:
    """The NVIDIA cards and the libraries that MindSpore's GPU plugin is linked to."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding("GPU", "absent", "no NVIDIA driver on this machine", "glorext runs on CPU here")
        return
    rows = gpu_cards(program)
    text = "; ".join(f"{name}, compute capability {major}.{minor}" for name, major, minor in rows)
    if not rows:
        yield Finding("GPU", "missing", "nvidia-smi shows no card", "see what `nvidia-smi` says")
    elif platform.machine() != "x86_64":
        do = "train on the CPU or on another machine"
        yield Finding("GPU", "missing", f"{text}; MindSpore's GPU wheels are for x86_64, not {platform.machine()}", do)
    elif any(card[1:] < OLDEST_GPU for card in rows):
        text += f"; MindSpore holds code from {_dotted(OLDEST_GPU)} on"
        yield Finding("GPU", "missing", text, "train on the CPU or on a later card")
    elif any(card[1:] > NEWEST_GPU for card in rows):
        text += f"; MindSpore holds PTX for {_dotted(PTX_GPU)}, which the driver compiles for it at the first start"
        do = "CUDA 11.8 and cuDNN 8.9; then `glorext acceptance`, since this is not measured"
        yield Finding("GPU", "absent", text, do)
    else:
        yield Finding("GPU", "ok", text)
    for name in GPU_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            wanted = "CUDA 11" if "cudart" in name else "cuDNN 8 for CUDA 11"
            yield Finding(name, "missing", str(error), f"install {wanted} and put its folder on LD_LIBRARY_PATH")
        else:
            yield Finding(name, "ok", "loads")


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def gpu_cards(program: str) -> list[tuple[str, int, int]]:
    """(name, major, minor) of each GPU, by nvidia-smi, the program at that path."""
    command = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = re.findall(r"^(.+), (\d+)\.(\d+)\s*$", done.stdout, re.M) if done.returncode == 0 else []
    return [(name, int(major), int(minor)) for name, major, minor in found]
