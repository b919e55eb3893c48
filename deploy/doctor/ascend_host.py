"""The Ascend driver, firmware, CANN and chip of this machine, as their own files, tools and library say."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime.chips import family_of

ROOT = Path("/usr/local/Ascend")
DEVICES = Path("/dev")
# A row of `npu-smi info`: | 0     310P3     | OK   ...; the row below it has a bus address where the health stands.
NPU_SMI_ROW = re.compile(r"^\|\s*\d+\s+([0-9A-Za-z]+)\s*\|\s*[A-Za-z]+\s*\|", re.M)


@dataclass(frozen=True)
class AscendHost:
    """What was found; None for what is not there.

    Attributes:
        devices: device nodes, one for each chip.
        driver, firmware: versions, from their version.info.
        cann_home, cann: the toolkit's folder and its version.
        set_up: whether the environment names the toolkit, as its set_env.sh does.
        soc: the chip, such as "Ascend310", from CANN or, without it, npu-smi.
        soc_source: where `soc` comes from.
        acl: why libascendcl.so cannot be loaded; None when it can.
    """

    devices: int
    driver: str | None
    firmware: str | None
    cann_home: Path | None
    cann: str | None
    set_up: bool
    soc: str | None
    soc_source: str | None
    acl: str | None

    @property
    def target(self) -> str | None:
        """The target of `glorext convert` for this chip."""
        return family_of(self.soc)


def version_in(path: Path) -> str | None:
    """The version in a version.info or ascend_toolkit_install.info: its line `Version=` or `version=`."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*version\s*=\s*\[?([^\s\]]+)", text, re.M | re.I)
    return found[1] if found else None


def _cann(root: Path) -> tuple[Path | None, str | None, bool]:
    named = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")
    home = Path(named) if named else root / "ascend-toolkit" / "latest"
    if not home.is_dir():
        return (Path(named) if named else None), None, bool(named)
    machine = platform.machine()
    for file in (
        home / f"{machine}-linux" / "ascend_toolkit_install.info",
        home / "ascend_toolkit_install.info",
        home / "version.info",
        home / "compiler" / "version.info",
        home / "runtime" / "version.info",
    ):
        found = version_in(file)
        if found:
            return home, found, bool(named)
    return home, None, bool(named)


def parse_npu_smi(text: str) -> list[str]:
    """Names of the chips in the table that `npu-smi info` prints, such as "310P3"."""
    return NPU_SMI_ROW.findall(text)


def _by_acl() -> tuple[str | None, str | None]:
    """The chip as CANN names it (aclrtGetSocName), and why its library cannot be loaded."""
    try:
        library = ctypes.CDLL("libascendcl.so")
    except OSError as error:
        return None, str(error)
    library.aclrtGetSocName.restype = ctypes.c_char_p
    name = library.aclrtGetSocName()
    return (name.decode() if name else None), None


def _by_npu_smi() -> str | None:
    program = shutil.which("npu-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = parse_npu_smi(done.stdout) if done.returncode == 0 else []
    return f"Ascend{names[0]}" if names else None


def look(root: Path | None = None, devices: Path | None = None) -> AscendHost:
    """Look for cards and their software; nothing is opened on a device.

    Args:
        root: where Ascend's software is installed, /usr/local/Ascend.
        devices: where device nodes stand, /dev.
    """
    root = root or ROOT
    nodes = sorted((devices or DEVICES).glob("davinci[0-9]*"))
    home, cann, set_up = _cann(root)
    soc, acl = _by_acl()
    soc_source = "CANN" if soc else None
    if soc is None:
        soc = _by_npu_smi()
        soc_source = "npu-smi" if soc else None
    return AscendHost(
        len(nodes),
        version_in(root / "driver" / "version.info"),
        version_in(root / "firmware" / "version.info"),
        home,
        cann,
        set_up,
        soc,
        soc_source,
        acl,
    )
