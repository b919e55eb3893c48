"""The one place where a device is chosen, and where the two CPU traps of MindSpore 2.10 are avoided."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from .errors import DeviceError, SetupError, UsageError
from .log import get_logger

logger = get_logger("runtime")
DEVICES = ("CPU", "GPU", "Ascend")
CAP = "ONEDNN_MAX_CPU_ISA"
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
        SetupError: NumPy 2 or newer is installed.
    """
    cap_onednn()
    check_numpy()


def check_numpy() -> None:
    """Raise SetupError with NumPy 2: MindSpore 2.10's compiled parts were built against NumPy 1 and fail later."""
    from importlib.metadata import version

    found = version("numpy")
    if int(found.split(".")[0]) >= 2:
        raise SetupError(
            expected="numpy below 2 (MindSpore 2.10's first eager reduction fails with NumPy 2)",
            found=f"numpy {found}",
            do='Run: pip install "numpy<2"',
        )


def set_device(name: str = "auto", device_id: int | None = None) -> str:
    """Choose the device of this process.

    Args:
        name: "CPU", "GPU", "Ascend" in any case, or "auto": the best one there is.
        device_id: which card; the first one by default.

    Returns:
        "CPU", "GPU" or "Ascend".

    Raises:
        UsageError: no such kind of device.
        DeviceError: the device is not there. Another one is never taken instead.
    """
    wanted = {device.lower(): device for device in DEVICES}.get(name.lower())
    if wanted is None and name.lower() != "auto":
        raise UsageError(expected=f"auto, {', '.join(DEVICES)}", found=name, where="--device_target")
    prepare()
    import mindspore as ms

    if wanted is None:
        wanted = next(device for device in reversed(DEVICES) if device == "CPU" or _present(ms, device))
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
    except (RuntimeError, ValueError) as error:
        raise DeviceError(
            expected=f"a working {wanted}",
            found=str(error).strip().splitlines()[0],
            do="Check its driver with `glorext doctor`, or choose --device_target CPU.",
        ) from error
    return wanted


def _present(ms, device: str) -> bool:
    # MindSpore's own question loads the device's plugin and warns at length; without a driver node there is no device.
    if not any(Path("/dev").glob(DRIVER_NODES[device])):
        return False
    try:
        return ms.hal.device_count(device) > 0
    except (RuntimeError, ValueError):
        return False
