"""Builds the C++ programs against the MindSpore Lite of this machine, once for each state of their sources."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from glorext.deploy.runners.find_lite import Lite, locate
from glorext.deploy.runners.system_packages import BUILDING, install
from glorext.runtime import SetupError, atomic_dir, env, get_logger
from glorext.runtime.cli import parser
from glorext.runtime.files import file_lock, make_folder

logger = get_logger("deploy")
NEEDS = "g++, cmake and the headers of libjpeg and libpng"
BUILT = "infer pixels convert"


@dataclass(frozen=True)
class Programs:
    """The built programs and what they were built against.

    Attributes:
        infer: glorext_infer.
        pixels: glorext_pixels, which shows preprocessing stage by stage.
        convert: glorext_convert, or None where the SDK brings its own converter.
        lite: the MindSpore Lite they are linked to.
    """

    infer: Path
    pixels: Path
    convert: Path | None
    lite: Lite


def sources() -> Path:
    """The folder with the C++ sources and their CMakeLists.txt."""
    return Path(str(files("glorext.deploy") / "cpp"))


def _key(found: Lite, compiler: str) -> str:
    digest = hashlib.sha256(f"{found.root}\n{found.version}\n{compiler}\n{BUILT}\n".encode())
    for path in sorted(path for path in sources().rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources())}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> str:
    for program in ("g++", "cmake"):
        if shutil.which(program) is None:
            raise SetupError(
                expected=f"{NEEDS} for the C++ programs",
                found=f"no {program} on PATH",
                do=f"Run as root: {install(*BUILDING)}",
            )
    return subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def build(found: Lite | None = None) -> Programs:
    """The programs, built now if the cache does not hold them for these sources, this compiler and this library.

    Raises:
        SetupError: no compiler, no library, or the build failed (the message says where the log is).
    """
    found = found or locate()
    folder = env.cache_dir() / "native" / _key(found, _compiler())
    programs = Programs(
        folder / "glorext_infer",
        folder / "glorext_pixels",
        None if found.converter else folder / "glorext_convert",
        found,
    )
    if folder.is_dir():
        return programs
    root = make_folder(env.cache_dir())
    make_folder(folder.parent, root)
    with file_lock(folder.with_name(f"{folder.name}.lock"), "that builds the C++ programs", root):
        if not folder.is_dir():
            logger.info("building the C++ programs against MindSpore Lite %s (once)", found.version)
            with (
                tempfile.TemporaryDirectory(prefix="glorext-build-") as scratch,
                atomic_dir(folder, like=root) as final,
            ):
                _compile(found, Path(scratch))
                for program in (programs.infer, programs.pixels, programs.convert):
                    if program is not None:
                        shutil.copy2(Path(scratch) / program.name, final / program.name)
    return programs


def _compile(found: Lite, scratch: Path) -> None:
    root, version = f"-DMINDSPORE_LITE_ROOT={found.root}", f"-DMINDSPORE_LITE_VERSION={found.version}"
    steps = (
        ["cmake", "-S", str(sources()), "-B", str(scratch), "-DCMAKE_BUILD_TYPE=Release", root, version],
        ["cmake", "--build", str(scratch), "--parallel", "2"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            log = Path(tempfile.gettempdir()) / "glorext_build.log"
            log.write_text(done.stdout + done.stderr)
            lines = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line]
            raise SetupError(
                f"the C++ programs could not be built: {lines[0].strip() if lines else 'see the log'}",
                where=log,
                do=f"They need {NEEDS}: {install(*BUILDING)}",
            )


def main(argv: list[str]) -> int:
    """`glorext native`: `make` calls it, so that the demo need not wait for the build."""
    parser("native", "Fetch MindSpore Lite and build the C++ programs, once.", "glorext native").parse_args(argv)
    print(build().infer.parent)
    return 0
