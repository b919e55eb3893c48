"""Finds MindSpore Lite: the SDK of MindSpore's site, an installed package, or the PyPI wheel's libraries.

MindSpore names several packages alike. What one is, its files say, and only the cloud-side inference package serves
here: the device-side one, for phones, has a runtime of the same name that reads .ms alone and drives no card.
"""

from __future__ import annotations

import importlib.util
import mmap
import platform
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

from glorext.runtime import IntegrityError, SetupError, atomic_dir, env, get_logger, require_space, sha256_file
from glorext.runtime.files import file_lock, make_folder

logger = get_logger("deploy")
WHEEL_VERSION = "2.0.0"
# The wheels carry Python 3.7 tags, but their C++ libraries and headers serve without any Python.
# machine -> (platform tag to ask pip for, sha256 of the wheel)
WHEELS = {
    "x86_64": ("manylinux1_x86_64", "199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec"),
    "aarch64": ("manylinux2014_aarch64", "9006b56a0285833802b4880f34cbce5f94111ef5ca4071d5df5c61e8c2a3a6f7"),
}
UNPACKED_BYTES = 900_000_000
# The runtime below a package's folder: the SDK's, that of the wheels from 2.1 on, and that of 2.0's.
RUNTIMES = ("runtime/lib/libmindspore-lite.so", "lib/libmindspore-lite.so", "lib/libmindspore-extendrt_python.so")
CONVERTER = "tools/converter/converter/converter_lite"
# Beside the runtime of the cloud side and not of the device side; the other way round; and what drives a card.
CORE = ("libmindspore_core.so", "libmindspore-core.so")
DEVICE_SIDE = ("libmindspore-lite-train.so", "libmindspore-lite-train.a")
ASCEND_PLUGIN = ("libascend_kernel_plugin.so", "libascend_kernel_plugin_python.so")
# ELF's e_machine -> platform.machine()
MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64"}
PACKAGE = (
    "MindSpore Lite's cloud-side inference package, mindspore-lite-VERSION-linux-x64 or -linux-aarch64, unpacked "
    "(runtime/lib/libmindspore-lite.so), or the folder mindspore_lite of its wheel"
)


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

    @property
    def drives_cards(self) -> bool:
        """Whether its plugin for Ascend cards is there."""
        return _beside(_runtime(self.root), ASCEND_PLUGIN) is not None

    def require_for(self, device: str) -> None:
        """Raise SetupError where this package has nothing for the device: "cpu", or a card's family."""
        if device == "cpu" or self.drives_cards:
            return
        raise SetupError(
            expected=f"the plugin for Ascend cards beside MindSpore Lite's runtime ({ASCEND_PLUGIN[0]})",
            found=f"MindSpore Lite {self.version} for the CPU alone, {self.origin}",
            where=self.root,
            do="Take the cloud-side inference package that MindSpore's download page lists for Ascend.",
        )


def _runtime(home: Path) -> Path | None:
    return next((home / place for place in RUNTIMES if (home / place).is_file()), None)


def _beside(library: Path | None, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if library and (library.parent / name).is_file()), None)


def wrong_kind(home: Path) -> str | None:
    """What a folder holds instead of the cloud-side inference package, by its files; None where it is that."""
    library = _runtime(home)
    if library is None:
        return _without_runtime(home)
    with open(library, "rb") as file:
        head = file.read(20)
        if head[:4] == b"\x7fELF":
            machine = MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")
            if machine != platform.machine():
                return f"libraries for {machine}, and this machine is {platform.machine()}"
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if data.find(b"libc.so.6") < 0:
                    return "the device-side package for Android: its runtime needs another C library than Linux has"
    if (name := _beside(library, DEVICE_SIDE)) or not _beside(library, CORE):
        reason = f"{name} is there" if name else f"no {CORE[0]} beside its runtime"
        return f"the device-side package ({reason}): it reads .ms alone and drives no card"
    if not (library.parents[1] / "include" / "api").is_dir():
        return "a package without C++ headers (include/api)"
    return None


def _without_runtime(home: Path) -> str:
    if not home.exists():
        return "no such folder"
    if home.is_file():
        return "a file, not an unpacked folder"
    if (home / CONVERTER).is_file():
        return "the converter alone, without a runtime"
    if inner := next((path for path in home.iterdir() if path.is_dir() and _runtime(path)), None):
        return f"the folder around a package: {inner}"
    if (home / "mint").is_dir() or list(home.glob("_c_expression*")):
        return "MindSpore itself, the framework for training"
    if list(home.glob("jni/*/libmindspore-lite.so")):
        return "the device-side package for Android, an unpacked AAR"
    return "no runtime of MindSpore Lite"


def _named(home: Path) -> Lite:
    if found := wrong_kind(home):
        raise SetupError(
            expected=PACKAGE,
            found=found,
            where=f"MINDSPORE_LITE_HOME={home}",
            do="Take it from the download page of MindSpore Lite's cloud side and point the variable at the unpacked "
            "folder, or unset it to use the PyPI wheel.",
        )
    if _runtime(home) != home / RUNTIMES[0]:
        return Lite(home, _wheel_version(home), "MINDSPORE_LITE_HOME")
    converter, version = home / CONVERTER, home / "runtime" / "version"
    parts = [part for part in home.name.split("-") if part[:1].isdigit()]
    text = version.read_text().strip() if version.is_file() else (parts[0] if parts else "unknown")
    return Lite(home, text, "MINDSPORE_LITE_HOME", converter if converter.is_file() else None)


def _wheel_version(root: Path) -> str:
    version = root / "version.py"
    lines = version.read_text().splitlines() if version.is_file() else []
    return next((line.split("=")[1].strip(" '\"") for line in lines if line.startswith("__version__")), "unknown")


def _installed() -> Lite | None:
    try:
        spec = importlib.util.find_spec("mindspore_lite")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    if found := wrong_kind(root):
        logger.warning("the mindspore_lite of this Python is passed over: %s holds %s", root, found)
        return None
    return Lite(root, _wheel_version(root), "the mindspore_lite of this Python")


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
        SetupError: MINDSPORE_LITE_HOME is no cloud-side inference package, this machine has no wheel, or the
            download failed.
        IntegrityError: the wheel is not the one this project pins.
    """
    home = env.mindspore_lite_home()
    if home is not None:
        return _named(home)
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
    root = make_folder(env.cache_dir())
    make_folder(folder.parent, root)
    with file_lock(folder.with_name(f"{folder.name}.lock"), "that fetches MindSpore Lite", root):
        if folder.is_dir():
            return
        require_space(folder.parent, UNPACKED_BYTES)
        logger.info("fetching MindSpore Lite %s into %s (once)", WHEEL_VERSION, folder)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            wheel = _download(Path(scratch), *WHEELS[machine])
            with atomic_dir(folder, like=root) as unpacked, zipfile.ZipFile(wheel) as archive:
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
