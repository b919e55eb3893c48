"""Says what is installed here, what is missing for which command, and how to get it."""
from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from glorext.runtime import GlorextError, cap_onednn, env
from glorext.runtime.device import CAP, has_avx512

from . import lite

PACKAGES = ("glorext", "mindspore", "numpy", "pillow", "requests", "tqdm", "onnxruntime", "scikit-learn")
OPTIONAL = {"onnxruntime": "checks exported ONNX files", "scikit-learn": "the demo's data"}
HEADERS = "#include <cstdio>\n#include <jpeglib.h>\n#include <png.h>\n"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ok, missing (something fails without it) or absent (only an option is gone)."""

    name: str
    state: str
    found: str
    do: str = ""


def _packages():
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            state = "absent" if name in OPTIONAL else "missing"
            yield Finding(name, state, OPTIONAL.get(name, "not installed"), f"pip install {name}")
            continue
        if name == "numpy" and int(found.split(".")[0]) >= 2:
            yield Finding(name, "missing", f"{found}: MindSpore 2.10 fails with NumPy 2", 'pip install "numpy<2"')
        else:
            yield Finding(name, "ok", found)


def _processor():
    by_user = os.environ.get(CAP)
    cap = cap_onednn()
    if by_user is not None:
        found = f"{CAP}={by_user}, set by you" + ("" if by_user == "AVX2" or not has_avx512()
                                                  else "; convolutions may be up to 50 times slower than with AVX2")
    elif cap is None:
        found = "no AVX-512, no cap needed"
    else:
        found = f"AVX-512 found, {CAP}={cap} is set before the first convolution"
    return Finding("oneDNN", "ok", found)


def _devices():
    nodes = sorted(Path("/dev").glob("davinci[0-9]*"))
    cann = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")
    if nodes:
        yield Finding("Ascend", "ok" if cann else "missing", f"{len(nodes)} devices; CANN {cann or 'not set up'}",
                      "" if cann else "source /usr/local/Ascend/ascend-toolkit/set_env.sh")
    else:
        yield Finding("Ascend", "absent", "no device on this machine", "glorext runs on CPU here")
    yield Finding("GPU", "ok", "NVIDIA driver found") if shutil.which("nvidia-smi") else \
        Finding("GPU", "absent", "no NVIDIA driver on this machine", "glorext runs on CPU here")


def _native():
    for program in ("g++", "cmake"):
        path = shutil.which(program)
        if path is None:
            yield Finding(program, "missing", "not on PATH: no offline inference", f"apt-get install {program}")
        else:
            line = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
            yield Finding(program, "ok", line)
    if shutil.which("g++"):
        done = subprocess.run(["g++", "-x", "c++", "-fsyntax-only", "-"], input=HEADERS, capture_output=True, text=True)
        yield Finding("libjpeg and libpng headers", "ok", "found") if done.returncode == 0 else \
            Finding("libjpeg and libpng headers", "missing", "not found", "apt-get install libjpeg-dev libpng-dev")


def _lite():
    try:
        found = lite.locate(fetch=False)
    except GlorextError as error:
        return Finding("MindSpore Lite", "missing", str(error), "correct or unset MINDSPORE_LITE_HOME")
    if found is None:
        return Finding("MindSpore Lite", "absent", "not in the cache yet; `glorext convert` fetches it",
                       "python -m glorext.deploy.native")
    return Finding("MindSpore Lite", "ok", f"{found.version}, {found.origin}: {found.root}")


def examine() -> list[Finding]:
    """Everything that is looked at, in reading order; nothing is installed, fetched or built."""
    findings = [Finding("Python", "ok" if (3, 10) <= sys.version_info[:2] <= (3, 12) else "missing",
                        f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    findings += [*_packages(), _processor(), *_devices(), *_native(), _lite()]
    free = shutil.disk_usage(next(path for path in (env.cache_dir(), *env.cache_dir().parents) if path.exists())).free
    findings.append(Finding("cache", "ok" if free > 2e9 else "missing", f"{env.cache_dir()}, {free / 1e9:.0f} GB free",
                            "" if free > 2e9 else "make room or set GLOREXT_CACHE"))
    return findings


def main(argv: list[str]) -> int:
    """`glorext doctor`: exit status 1 when something is missing that a command needs."""
    from glorext.runtime.cli import parser
    arguments = parser("doctor", "Say what is installed here, what is missing, and how to get it.",
                       "glorext doctor --json")
    arguments.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = arguments.parse_args(argv)
    findings = examine()
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{finding.state:<8} {finding.name:<{width}}  {finding.found}")
            if finding.do:
                print(f"{'':<8} {'':<{width}}  -> {finding.do}")
    return int(any(finding.state == "missing" for finding in findings))
