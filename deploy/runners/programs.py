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
from glorext.deploy.runners.system_packages import BUILDING
from glorext.deploy.runners.system_packages import install as install_command
from glorext.runtime import SetupError, atomic_dir, env, get_logger, version
from glorext.runtime.cli import parser
from glorext.runtime.files import file_lock, make_folder

logger = get_logger("deploy")
NEEDS = "g++, cmake and the headers of libjpeg and libpng"


@dataclass(frozen=True)
class Programs:
    """The built programs and what they were built against.

    Attributes:
        infer: glorext_infer.
        classify: glorext_classify.
        bench: glorext_bench, which measures throughput and latency.
        pixels: glorext_pixels, which shows preprocessing stage by stage.
        convert: glorext_convert, or None where the SDK brings its own converter.
        lite: the MindSpore Lite they are linked to.
    """

    infer: Path
    classify: Path
    bench: Path
    pixels: Path
    convert: Path | None
    lite: Lite

    @classmethod
    def below(cls, folder: Path, lite: Lite) -> Programs:
        """The programs in `folder`, or where that has not been built their names."""
        infer, classify, bench, pixels, convert = (
            folder / f"glorext_{name}" for name in ("infer", "classify", "bench", "pixels", "convert")
        )
        return cls(infer, classify, bench, pixels, None if lite.converter else convert, lite)


def sources() -> Path:
    """The folder with the C++ sources and their CMakeLists.txt."""
    return Path(str(files("glorext.deploy") / "cpp"))


def _key(found: Lite, compiler: str) -> str:
    digest = hashlib.sha256(f"{found.root}\n{found.version}\n{compiler}\n{version()}\n".encode())
    for path in sorted(path for path in sources().rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources())}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> str:
    for program in ("g++", "cmake"):
        if shutil.which(program) is None:
            raise SetupError(
                expected=f"{NEEDS} for the C++ programs",
                found=f"no {program} on PATH",
                do=f"Run as root: {install_command(*BUILDING)}",
            )
    return subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def build(found: Lite | None = None) -> Programs:
    """The programs, built now if the cache does not hold them for these sources, this compiler and this library.

    Raises:
        SetupError: no compiler, no library, or the build failed (the message says where the log is).
    """
    found = found or locate()
    return Programs.below(_built(found) / "bin", found)


def _built(found: Lite) -> Path:
    folder = env.cache_dir() / "native" / _key(found, _compiler())
    if folder.is_dir():
        return folder
    root = make_folder(env.cache_dir())
    make_folder(folder.parent, root)
    with file_lock(folder.with_name(f"{folder.name}.lock"), "that builds the C++ programs", root):
        if not folder.is_dir():
            logger.info("building the C++ programs against MindSpore Lite %s (once)", found.version)
            with (
                tempfile.TemporaryDirectory(prefix="glorext-build-") as scratch,
                atomic_dir(folder, like=root) as final,
            ):
                _compile(found, scratch, final)
    return folder


def install(prefix: Path, found: Lite | None = None) -> None:
    """Put the programs, libglorext, its headers, its CMake package and its pkg-config file below `prefix`.

    Raises:
        SetupError: as `build`, or `prefix` cannot be written.
    """
    built = _built(found or locate())
    try:
        for link in (path for path in built.rglob("*") if path.is_symlink()):
            (prefix / link.relative_to(built)).unlink(missing_ok=True)  # copytree replaces files, but no links
        shutil.copytree(built, prefix, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise SetupError(f"{prefix} could not be written: {error}", do="Name a folder that you may write to.") from None


def _compile(found: Lite, scratch: str, final: Path) -> None:
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "GLOREXT_LIBRARY": "ON",
        "GLOREXT_VERSION": version(),
        "MINDSPORE_LITE_ROOT": found.root,
        "MINDSPORE_LITE_VERSION": found.version,
    }
    _step("cmake", "-S", str(sources()), "-B", scratch, *(f"-D{key}={value}" for key, value in options.items()))
    _step("cmake", "--build", scratch, "--parallel", "2")
    _step("cmake", "--install", scratch, "--prefix", str(final))


def _step(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        log = Path(tempfile.gettempdir()) / "glorext_build.log"
        log.write_text(done.stdout + done.stderr)
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line]
        raise SetupError(
            f"the C++ programs could not be built: {lines[0].strip() if lines else 'see the log'}",
            where=log,
            do=f"They need {NEEDS}: {install_command(*BUILDING)}",
        )


def main(argv: list[str]) -> int:
    """`glorext native`: `make` calls it, so that the demo need not wait for the build."""
    flags = parser("native", "Fetch MindSpore Lite and build the C++ programs, once.", "glorext native")
    flags.add_argument("--prefix", type=Path, help="install libglorext and the programs here, for programs of your own")
    prefix = flags.parse_args(argv).prefix
    if prefix is None:
        print(build().infer.parent)
        return 0
    install(prefix)
    print(f"{prefix}: find_package(glorext) with -DCMAKE_PREFIX_PATH={prefix.absolute()}; programs in {prefix / 'bin'}")
    return 0
