"""Says what is installed here, what is missing for which command, and how to get it."""

from __future__ import annotations

import filecmp
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from glorext.deploy.runners import ascend_host
from glorext.deploy.runners.ascend_host import AscendHost
from glorext.deploy.runners.find_lite import locate
from glorext.deploy.runners.system_packages import install
from glorext.hub.official import NAME as HUB_MODULE
from glorext.hub.official import OURS, official_client
from glorext.runtime import GlorextError, cap_onednn, env, mindspore_versions
from glorext.runtime.chips import FAMILIES, find_chip
from glorext.runtime.cli import parser
from glorext.runtime.device import CAP, has_avx512

from . import lite, training
from .finding import Finding

PACKAGES = ("glorext", "mindspore", "numpy", "pillow", "requests", "tqdm", "onnxruntime", "scikit-learn")
OPTIONAL = {"onnxruntime": "checks exported ONNX files", "scikit-learn": "the demo's data"}
CPU_ALONE = ", for the CPU alone: no plugin for Ascend cards"
HEADERS = "#include <cstdio>\n#include <jpeglib.h>\n#include <png.h>\n"


def _packages():
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            state = "absent" if name in OPTIONAL else "missing"
            yield Finding(name, state, OPTIONAL.get(name, "not installed"), f"pip install {name}")
            continue
        if name == "numpy" and int(found.split(".")[0]) >= 2:
            yield Finding(name, "missing", f"{found}: MindSpore fails with NumPy 2", 'pip install "numpy<2"')
        elif name == "mindspore" and mindspore_versions.release_of(found) is None:
            text = f"{found}: glorext runs with {mindspore_versions.RANGE}"
            yield Finding(name, "missing", text, f'pip install "mindspore{mindspore_versions.SUPPORTED}"')
        else:
            yield Finding(name, "ok", found)


def _hub_module():
    """Which module `import mindspore_hub` takes; it is not imported for that."""
    official = official_client()
    if official is not None:
        found = f"the official client, {official.origin}; glorext's calls are those of glorext.hub"
        return Finding(HUB_MODULE, "ok", found)
    spec = find_spec(HUB_MODULE)
    if spec is None or spec.origin is None:
        return Finding(HUB_MODULE, "absent", "no such module; glorext.hub has the same calls", "pip install glorext")
    ours = filecmp.cmp(spec.origin, OURS, shallow=False)
    return Finding(
        HUB_MODULE, "ok", f"{'glorext' if ours else 'neither glorext nor the official client'}, {spec.origin}"
    )


def _processor():
    by_user = os.environ.get(CAP)
    cap = cap_onednn()
    if by_user is not None:
        slow = (
            ""
            if by_user == "AVX2" or not has_avx512()
            else "; convolutions may be up to 50 times slower than with AVX2"
        )
        found = f"{CAP}={by_user}, set by you{slow}"
    elif cap is None:
        found = "no AVX-512, no cap needed"
    else:
        found = f"AVX-512 found, {CAP}={cap} is set before the first convolution"
    return Finding("oneDNN", "ok", found)


def _cards(found: AscendHost):
    """Card, driver, CANN: without a card none of them is missing, they are only absent."""
    state = "missing" if found.devices else "absent"
    chip = find_chip(found.soc)
    sold_as = f", of {chip.sold_as}" if chip else ""
    documented = f"; documented for {chip.documented}" if chip and chip.documented else ""
    name = f"{found.soc}{sold_as}{documented} (says {found.soc_source})" if found.soc else "chip unknown"
    yield (
        Finding("Ascend card", "ok", f"{found.devices} devices, {name}")
        if found.devices
        else Finding("Ascend card", "absent", "no /dev/davinci* on this machine", "glorext runs on CPU here")
    )
    if found.driver:
        yield Finding("Ascend driver", "ok", found.driver + (f", firmware {found.firmware}" if found.firmware else ""))
    else:
        yield Finding(
            "Ascend driver",
            state,
            f"no {ascend_host.ROOT}/driver/version.info",
            "sh Ascend-hdk-*-npu-driver_*_linux-*.run --full   (hiascend.com, Drivers and Firmware)",
        )
    if found.cann_home is None or found.cann is None:
        places = " or ".join(str(ascend_host.ROOT / place) for place in ascend_host.TOOLKITS)
        no_home = f"no toolkit in {places}, and ASCEND_HOME_PATH is not set"
        text = f"no version in {found.cann_home}" if found.cann_home else no_home
        do = f"sh Ascend-cann-toolkit_*_linux-{platform.machine()}.run --install   (hiascend.com, CANN)"
        yield Finding("CANN", state, text, do)
    elif found.acl:
        text = f"{found.cann} in {found.cann_home}, but {found.acl}"
        yield Finding("CANN", state, text, f"source {found.set_env}")
    else:
        yield Finding("CANN", "ok", f"{found.cann} in {found.cann_home}")
    atc = shutil.which("atc")
    no_atc = "not on PATH; only the plan of `glorext convert --dry_run` names it"
    do = f"source {found.set_env}" if found.set_env else "install CANN and source its set_env.sh"
    yield Finding("atc", "ok", atc) if atc else Finding("atc", "absent", no_atc, do)


def _native():
    for program in ("g++", "cmake"):
        path = shutil.which(program)
        if path is None:
            yield Finding(program, "missing", "not on PATH: no offline inference", install(program))
        else:
            line = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
            yield Finding(program, "ok", line)
    if shutil.which("g++"):
        done = subprocess.run(["g++", "-x", "c++", "-fsyntax-only", "-"], input=HEADERS, capture_output=True, text=True)
        yield (
            Finding("libjpeg and libpng headers", "ok", "found")
            if done.returncode == 0
            else Finding("libjpeg and libpng headers", "missing", "not found", install("libjpeg-dev", "libpng-dev"))
        )


def _lite(host: AscendHost, target: str | None):
    found = None
    try:
        found = locate(fetch=False)
    except GlorextError as error:
        yield Finding("MindSpore Lite", "missing", str(error), "correct or unset MINDSPORE_LITE_HOME")
    else:
        if found is None:
            text = "not in the cache yet; `glorext convert` fetches it"
            yield Finding("MindSpore Lite", "absent", text, "glorext native")
        else:
            alone = "" if found.drives_cards else CPU_ALONE
            yield Finding("MindSpore Lite", "ok", f"{found.version}{alone}, {found.origin}: {found.root}")
    yield from lite.for_chips(host, found, target)


def examine(found: AscendHost, target: str | None = None) -> list[Finding]:
    """Everything that is checked, in reading order; nothing is installed, fetched or built.

    Args:
        target: a chip or family that MindSpore Lite's version is matched with, besides the chip that is here.
    """
    findings = [
        Finding(
            "Python",
            "ok" if (3, 10) <= sys.version_info[:2] <= (3, 12) else "missing",
            f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        )
    ]
    findings += [*_packages(), _hub_module(), _processor(), *_cards(found), *training.ascend(found), *training.gpu()]
    findings += [*_native(), *_lite(found, target)]
    free = shutil.disk_usage(next(path for path in (env.cache_dir(), *env.cache_dir().parents) if path.exists())).free
    findings.append(
        Finding(
            "cache",
            "ok" if free > 2e9 else "missing",
            f"{env.cache_dir()}, {free / 1e9:.0f} GB free",
            "" if free > 2e9 else "make room or set GLOREXT_CACHE",
        )
    )
    return findings


@dataclass(frozen=True)
class Loading:
    """Whether a kind of model loads or trains somewhere on this machine: "yes", or "no" and what stands in the way."""

    artifact: str
    where: str
    loads: str
    reason: str


def loadings(findings: list[Finding], found: AscendHost) -> list[Loading]:
    """Which model file will load where, from what was found."""
    by = {finding.name: finding for finding in findings}

    def needs(artifact, where, *names):
        for name in names:
            finding = by.get(name)
            if finding is None or finding.state != "ok":
                return Loading(artifact, where, "no", f"{name}: {finding.found if finding else 'not found'}")
        return Loading(artifact, where, "yes", f"{names[0]} {by[names[0]].found.split(',')[0]}")

    program = ("MindSpore Lite", "g++", "cmake", "libjpeg and libpng headers")
    chip, infers_only = find_chip(found.soc), None
    if chip and not chip.trains:
        infers_only = Loading("a run of glorext train", "MindSpore, Ascend", "no", f"{found.soc} is for inference")
    rows = [
        needs("a run of glorext train", "MindSpore, CPU", "mindspore", "numpy"),
        needs("a run of glorext train", "MindSpore, GPU", *training.ON_GPU, "mindspore"),
        infers_only or needs("a run of glorext train", "MindSpore, Ascend", *training.ON_ASCEND, "mindspore"),
        needs(".mindir of glorext export", "MindSpore, cpu", "mindspore"),
        needs(".onnx of glorext export", "onnxruntime, cpu", "onnxruntime"),
        needs(".ms and _lite.mindir of glorext convert", "the C++ program, cpu", *program),
    ]
    for target in FAMILIES:
        row = needs(
            f".mindir of glorext convert --target {target}",
            f"the C++ program, {target}",
            *("Ascend card", "Ascend driver", "CANN", *program),
        )
        if row.loads == "yes" and found.target != target:
            row = Loading(row.artifact, row.where, "no", f"the card is {found.soc or 'unknown'}")
        elif row.loads == "yes" and CPU_ALONE in by["MindSpore Lite"].found:
            row = Loading(row.artifact, row.where, "no", f"MindSpore Lite {by['MindSpore Lite'].found}")
        elif row.loads == "yes" and (unfit := by.get(lite.row_of(f"{found.soc}"))) and unfit.state == "missing":
            row = Loading(row.artifact, row.where, "no", f"{unfit.name}: {unfit.found}")
        elif row.loads == "yes":
            row = Loading(row.artifact, row.where, "yes", f"{found.soc}, CANN {found.cann}")
        rows.append(row)
    return [*rows, needs(".air of glorext export", "atc, which makes the card's .om of it", "CANN", "atc")]


def main(argv: list[str]) -> int:
    """`glorext doctor`: exit status 1 when something is missing that a command needs."""
    arguments = parser(
        "doctor", "Say what is installed here, what is missing, and how to get it.", "glorext doctor --json"
    )
    arguments.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments.add_argument(
        "--target",
        help="a chip that MindSpore Lite's version is matched with, besides the one that is here: "
        f"{', '.join(FAMILIES)}, or an exact name such as Ascend310P3",
    )
    options = arguments.parse_args(argv)
    found = ascend_host.look()
    findings = examine(found, options.target)
    rows = loadings(findings, found)
    if options.json:
        values = {"findings": [asdict(finding) for finding in findings], "artifacts": [asdict(row) for row in rows]}
        print(json.dumps({**values, "soc": found.soc, "target": found.target}, indent=2))
    else:
        _show(findings, rows)
    return int(any(finding.state == "missing" for finding in findings))


def _show(findings: list[Finding], rows: list[Loading]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.state:<8} {finding.name:<{width}}  {finding.found}")
        if finding.do:
            print(f"{'':<8} {'':<{width}}  -> {finding.do}")
    print("\nwhat trains and loads where on this machine")
    wide = max(len(row.artifact) for row in rows)
    for row in rows:
        print(f"{row.loads:<4} {row.artifact:<{wide}}  {row.where}: {row.reason}")
