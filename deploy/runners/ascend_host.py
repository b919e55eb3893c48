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

from glorext.runtime.chips import family_of, find_chip

ROOT = Path("/usr/local/Ascend")
DEVICES = Path("/dev")
SAY_THE_CHIP = ("CANN", "npu-smi")
TOOLKITS = ("cann", "ascend-toolkit/latest")  # from CANN 9.0 on, and before
# A row of `npu-smi info`: | 0     310P3     | OK   ...; the row below it has numbers of one or two digits, and a bus
# address or NA.
NPU_SMI_ROW = re.compile(r"^\|\s*(\d+)\s+([0-9A-Za-z-]{3,})\s*\|\s*[A-Za-z]+\s*\|", re.M)
# A line of `npu-smi info -t board`.
BOARD_LINE = re.compile(r"^\s*(Chip Name|NPU Name)\s*:\s*(\S+)", re.M)


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
    def set_env(self) -> Path | None:
        """The script that sets up CANN's environment: in its folder, up to 8.x beside `latest`."""
        if self.cann_home is None:
            return None
        own = self.cann_home / "set_env.sh"
        return own if own.is_file() or self.cann_home.name != "latest" else self.cann_home.parent / "set_env.sh"

    @property
    def target(self) -> str | None:
        """The target of `glorext convert` for this chip; none where nothing but a stand-in for AscendCL says so."""
        return family_of(self.soc) if self.soc_source in SAY_THE_CHIP else None


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
    home = (
        Path(named) if named else next((root / place for place in TOOLKITS if (root / place).is_dir()), root / "cann")
    )
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


def parse_npu_smi(text: str) -> list[tuple[str, str]]:
    """(NPU ID, Name) of the chips in the table that `npu-smi info` prints: ("0", "310P3"), or on A3 "Ascend910"."""
    return NPU_SMI_ROW.findall(text)


def parse_board(text: str) -> str | None:
    """The chip that `npu-smi info -t board` of an A3 describes, "Ascend910_9392"; None without both of its names."""
    names = dict(BOARD_LINE.findall(text))
    return f"{names['Chip Name']}_{names['NPU Name']}" if len(names) == 2 else None


def _by_acl() -> tuple[str | None, str | None, str | None]:
    """The chip as CANN names it (aclrtGetSocName), what said so in its place, and why its library is not loaded."""
    try:
        library = ctypes.CDLL("libascendcl.so")
    except OSError as error:
        return None, None, str(error)
    name = _words(library, "aclrtGetSocName")
    # A stand-in for AscendCL, without a card behind it, says so.
    return name, _words(library, "glorext_stand_in") if name else None, None


def _words(library: ctypes.CDLL, function: str) -> str | None:
    """What a function of the library says, if it has it."""
    try:
        call = getattr(library, function)
    except AttributeError:
        return None
    call.restype = ctypes.c_char_p
    words = call()
    return words.decode() if words else None


def _npu_smi(*words: str) -> str:
    program = shutil.which("npu-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "info", *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _by_npu_smi() -> str | None:
    rows = parse_npu_smi(_npu_smi())
    if not rows:
        return None
    number, name = rows[0]
    if not name.startswith("Ascend"):
        return f"Ascend{name}"
    # A3 shows one name for all of its chips here.
    return parse_board(_npu_smi("-t", "board", "-i", number, "-c", "0")) or name


def _soc() -> tuple[str | None, str | None, str | None]:
    """The chip, what says so, and why CANN's library cannot be loaded."""
    soc, stand_in, acl = _by_acl()
    if soc:
        return soc, stand_in or SAY_THE_CHIP[0], acl
    soc = _by_npu_smi()
    return soc, SAY_THE_CHIP[1] if soc else None, acl


def chip_here(family: str) -> str | None:
    """The exact name of this machine's chip, if it is one of `family`."""
    soc = _soc()[0]
    if soc is None or family_of(soc) != family:
        return None
    # "Ascend910" names no chip: it is what an A3 says before it is asked for more.
    return soc if find_chip(soc) or soc.lower() != family else None


def look(root: Path | None = None, devices: Path | None = None) -> AscendHost:
    """Look for cards and their software; nothing is opened on a device.

    Args:
        root: where Ascend's software is installed, /usr/local/Ascend.
        devices: where device nodes stand, /dev.
    """
    root = root or ROOT
    nodes = sorted((devices or DEVICES).glob("davinci[0-9]*"))
    home, cann, set_up = _cann(root)
    soc, soc_source, acl = _soc()
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
