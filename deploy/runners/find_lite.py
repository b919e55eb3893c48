"""Finds MindSpore Lite: the SDK of MindSpore's site, an installed package, or the PyPI wheel's libraries."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

from glorext.runtime import IntegrityError, SetupError, atomic_dir, env, get_logger, require_space, sha256_file

logger = get_logger("deploy")
WHEEL_VERSION = "2.0.0"
# The wheels carry Python 3.7 tags, but their C++ libraries and headers serve without any Python.
# machine -> (platform tag to ask pip for, sha256 of the wheel)
WHEELS = {
    "x86_64": ("manylinux1_x86_64", "199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec"),
    "aarch64": ("manylinux2014_aarch64", "9006b56a0285833802b4880f34cbce5f94111ef5ca4071d5df5c61e8c2a3a6f7"),
}
UNPACKED_BYTES = 900_000_000


@dataclass(frozen=True)
class Lite:
    """One MindSpore Lite on this machine.

    Attributes:
        root: what the C++ build takes as MINDSPORE_LITE_ROOT.
        version: its version, or "unknown".
        origin: where it comes from, for people.
        converter: the SDK's converter_lite, or None where our own program drives the converter library.
    """

    root: Path
    version: str
    origin: str
    converter: Path | None = None


def _sdk(home: Path) -> Lite:
    runtime = home / "runtime"
    library = runtime / "lib" / "libmindspore-lite.so"
    if not library.is_file():
        raise SetupError(
            expected="an unpacked MindSpore Lite SDK (runtime/lib/libmindspore-lite.so)",
            found="no such file",
            where=f"MINDSPORE_LITE_HOME={home}",
            do="Point the variable at the unpacked SDK, or unset it to use the PyPI wheel.",
        )
    converter = home / "tools" / "converter" / "converter" / "converter_lite"
    version = home / "runtime" / "version"
    found = [part for part in home.name.split("-") if part[:1].isdigit()]
    text = version.read_text().strip() if version.is_file() else (found[0] if found else "unknown")
    return Lite(home, text, "MINDSPORE_LITE_HOME", converter if converter.is_file() else None)


def _installed() -> Lite | None:
    try:
        spec = importlib.util.find_spec("mindspore_lite")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    if not (root / "include" / "api").is_dir():
        return None
    version = root / "version.py"
    lines = version.read_text().splitlines() if version.is_file() else []
    found = next((line.split("=")[1].strip(" '\"") for line in lines if line.startswith("__version__")), "unknown")
    return Lite(root, found, "the mindspore_lite of this Python")


def _wheel_folder() -> Path:
    return env.cache_dir() / "mindspore_lite" / f"{WHEEL_VERSION}-{platform.machine()}"


@overload
def locate(fetch: Literal[True] = True) -> Lite: ...
@overload
def locate(fetch: bool) -> Lite | None: ...
def locate(fetch=True):
    """The MindSpore Lite to use: MINDSPORE_LITE_HOME, else an importable mindspore_lite, else the PyPI wheel.

    Args:
        fetch: download the wheel into the cache when nothing else is there; with False the answer may be None.

    Raises:
        SetupError: MINDSPORE_LITE_HOME is wrong, this machine has no wheel, or the download failed.
        IntegrityError: the wheel is not the one this project pins.
    """
    home = env.mindspore_lite_home()
    if home is not None:
        return _sdk(home)
    installed = _installed()
    if installed is not None:
        return installed
    folder = _wheel_folder()
    if not folder.is_dir():
        if not fetch:
            return None
        _fetch_wheel(folder)
    return Lite(folder / "mindspore_lite", WHEEL_VERSION, "the PyPI wheel, in the cache")


def _fetch_wheel(folder: Path) -> None:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in WHEELS:
        raise SetupError(
            expected=f"Linux on {' or '.join(WHEELS)}",
            found=f"{sys.platform} on {machine}",
            do="Set MINDSPORE_LITE_HOME to an SDK for this machine.",
        )
    if env.offline():
        raise SetupError(
            f"MindSpore Lite {WHEEL_VERSION} is not in {folder} and GLOREXT_OFFLINE forbids fetching it",
            do="Run once with the network, or set MINDSPORE_LITE_HOME.",
        )
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if folder.is_dir():
            return
        require_space(folder.parent, UNPACKED_BYTES)
        logger.info("fetching MindSpore Lite %s into %s (once)", WHEEL_VERSION, folder)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            wheel = _download(Path(scratch), *WHEELS[machine])
            with atomic_dir(folder) as unpacked, zipfile.ZipFile(wheel) as archive:
                wanted = ("mindspore_lite/lib/", "mindspore_lite/include/")
                names = [name for name in archive.namelist() if name.startswith(wanted)]
                archive.extractall(unpacked, names)


def _download(scratch: Path, tag: str, sha256: str) -> Path:
    options = "--quiet --no-deps --only-binary=:all: --implementation=cp --python-version=37 --abi=cp37m"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--disable-pip-version-check"]
    command += [f"--platform={tag}", f"--dest={scratch}", f"mindspore-lite=={WHEEL_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no wheel"])[-1]
        raise SetupError(
            f"MindSpore Lite {WHEEL_VERSION} could not be downloaded with pip: {reason}",
            do="Check the network and run the command again, or set MINDSPORE_LITE_HOME.",
        )
    found = sha256_file(wheels[0])
    if found != sha256:
        raise IntegrityError(
            expected=f"sha256 {sha256}",
            found=found,
            where=wheels[0].name,
            do="The package index gave another file than the published one; do not use it.",
        )
    return wheels[0]
