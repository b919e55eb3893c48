"""The one place where a device is chosen, and where the traps of MindSpore on a CPU are avoided."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from . import chips, mindspore_versions
from .errors import DeviceError, SetupError, UsageError, did_you_mean
from .log import get_logger

if TYPE_CHECKING:
    import numpy as np

logger = get_logger("runtime")
DEVICES = ("CPU", "GPU", "Ascend")
OTHER_NAMES = {"npu": "Ascend", "davinci": "Ascend", "cuda": "GPU", "nvidia": "GPU"}  # what others call them
CAP = "ONEDNN_MAX_CPU_ISA"
DEV = Path("/dev")
DRIVER_NODES = {"GPU": "nvidia[0-9]*", "Ascend": "davinci[0-9]*"}


@lru_cache(maxsize=1)
def has_avx512() -> bool:
    """Whether this machine's processor offers AVX-512 (Linux on x86_64; False elsewhere)."""
    try:
        return " avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@lru_cache(maxsize=1)
def cap_onednn() -> str | None:
    """Keep oneDNN off AVX-512 where MindSpore would fall to its reference kernels; what the cap is afterwards.

    MindSpore 2.7 to 2.10 hands plain NCHW/OIHW tensors to oneDNN 3.10, which has no fast AVX-512 kernel for them: a
    3x3 convolution takes 260 ms instead of 5 ms. The variable must be set before the first convolution; a value that
    the user set stays. Returns the value in force, or None where none is needed.
    """
    if CAP in os.environ:
        return os.environ[CAP]
    if not has_avx512():
        return None
    os.environ[CAP] = "AVX2"
    logger.info(
        "set %s=AVX2: MindSpore's convolutions are up to 50 times slower on AVX-512 without it "
        "(set the variable yourself to overrule)",
        CAP,
    )
    return "AVX2"


def prepare() -> None:
    """Make this process fit for MindSpore on CPU; called before a network is made or a device is chosen.

    Raises:
        SetupError: NumPy 2 or newer is installed, or protobuf was imported in a way that this MindSpore cannot take.
    """
    cap_onednn()
    check_numpy()
    check_protobuf()


def check_protobuf() -> None:
    """Raise SetupError where `import mindspore` would end in "Descriptors cannot be created directly"."""
    kind = mindspore_versions.protobuf_in_the_way()
    if kind:
        variable = f"{mindspore_versions.PROTOBUF}=python"
        raise SetupError(
            expected=f"protobuf's Python implementation, for MindSpore {mindspore_versions.installed()}",
            found=f"its implementation {kind}, chosen by a package that was imported before MindSpore",
            do=f"Import mindspore before it, set {variable}, or install MindSpore 2.10, which needs neither.",
        )


def check_numpy() -> None:
    """Raise SetupError with NumPy 2: MindSpore's compiled parts were built against NumPy 1 and fail later."""
    from importlib.metadata import version

    found = version("numpy")
    if int(found.split(".")[0]) >= 2:
        raise SetupError(
            expected="numpy below 2 (MindSpore's first eager reduction fails with NumPy 2)",
            found=f"numpy {found}",
            do='Run: pip install "numpy<2"',
        )


def device_name(text: str) -> str:
    """The kind of device called `text` in any case, as MindSpore spells it; `text` where there is none."""
    return {device.lower(): device for device in DEVICES}.get(text.lower(), text)


def set_device(name: str = "auto", device_id: int | None = None) -> str:
    """Choose the device of this process.

    Args:
        name: "CPU", "GPU", "Ascend" in any case, or "auto": the best one there is.
        device_id: which card; the first one by default.

    Returns:
        "CPU", "GPU" or "Ascend".

    Raises:
        UsageError: no such kind of device.
        DeviceError: the device is not there, or for "auto" it is there and cannot be used. Another one is never taken
            instead.
    """
    wanted = None if name.lower() == "auto" else device_name(name)
    if wanted and wanted not in DEVICES:
        near = OTHER_NAMES.get(name.lower().split(":")[0])
        found = f"{name!r} (did you mean {near}?)" if near else did_you_mean(name, ("auto", *DEVICES))
        raise UsageError(expected=f"auto, {', '.join(DEVICES)}", found=found, where="--device")
    prepare()
    import mindspore as ms

    reason = ""
    if wanted is None:
        # Where there is a driver node someone means to use the device: that it does not work is an error further down.
        nodes = {device: sorted(DEV.glob(pattern)) for device, pattern in DRIVER_NODES.items()}
        wanted = next(device for device in reversed(DEVICES) if device == "CPU" or nodes[device])
        reason = "" if wanted == "CPU" else f", as {nodes[wanted][0]} is there"
        logger.info("device: %s", wanted)
    if wanted == "CPU":
        try:
            ms.set_device("CPU")
        except RuntimeError:
            # A process that has computed before cannot choose again; on the CPU already, it need not.
            if ms.get_context("device_target") != "CPU":
                raise
        return wanted
    try:
        ms.set_device(wanted, *([] if device_id is None else [device_id]))
        if not ms.hal.device_count(wanted):
            raise RuntimeError("the driver shows MindSpore no card")
    except (RuntimeError, ValueError) as error:
        raise DeviceError(
            expected=f"a working {wanted}{reason}",
            found=_why(error, wanted),
            do="Check its driver with `glorext doctor`, or choose --device CPU.",
        ) from error
    return wanted


def _why(error: Exception, device: str) -> str:
    """The reason in an answer of MindSpore, which begins with a page of advice: the library that did not load."""
    lines = str(error).strip().splitlines()
    loading = [line for line in lines if line.startswith("Load ") and f"mindspore_{device.lower()}" in line]
    return (loading or lines)[0]


def steps_ahead(device: str) -> int:
    """How many steps the host launches before it reads what one gave.

    A GPU or an Ascend works through a queue, which runs empty where the host waits for each step; on the CPU the host
    itself computes.
    """
    return 0 if device == "CPU" else 1


def fetching(tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a tensor to the host; what it returns waits for that copy and gives it.

    It waits for nothing that is launched in the meantime, as `Tensor.asnumpy` would, which waits for the whole queue.
    """
    import mindspore as ms

    if ms.get_context("device_target") == "CPU":
        return tensor.asnumpy
    copied, event = tensor.move_to("CPU", blocking=False), ms.runtime.Event()
    event.record()

    def arrived():
        event.synchronize()
        return copied.asnumpy()

    return arrived


@lru_cache(maxsize=1)
def set_deterministic() -> None:
    """Have every operation give equal bits for equal inputs; before processes join, so that sums over them do too."""
    import mindspore as ms

    ms.set_deterministic(True)  # MindSpore takes it once


def chip() -> str | None:
    """The Ascend chip in use, as AscendCL names it; None on another device. Only after `set_device`."""
    import mindspore as ms

    return ms.hal.get_device_name(0, "Ascend") if ms.get_context("device_target") == "Ascend" else None


def has_bfloat16() -> bool:
    """Whether MindSpore computes in bfloat16 on the device in use; of an unknown chip it will say so itself."""
    soc = chip()
    known = chips.find_chip(soc)
    return soc is not None and (known is None or known.has_bfloat16)


def saturates() -> bool:
    """Whether an overflow on the device in use gives the largest number, and only a status register tells."""
    soc = chip()
    if soc is None:
        return False
    answer = chips.saturates(soc)
    if answer is None:
        logger.warning("%s is not among the known chips: it is taken for one whose overflows give inf", soc)
    return bool(answer)
