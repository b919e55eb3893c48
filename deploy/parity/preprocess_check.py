"""Shows a picture after each stage of preprocessing, by each of the ways, and names the first stage that differs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.contract import aipp
from glorext.deploy.contract.closeness import MAX_LEVELS, MEAN_LEVELS, NORMALIZED
from glorext.deploy.runners.lite import run_program
from glorext.deploy.runners.programs import Programs, build
from glorext.hub.find import IDENTITY
from glorext.hub.open_model import add_registry_argument, open_model
from glorext.models import InputSpec
from glorext.models import spec as model_spec
from glorext.models.preprocess import crop, normalize, read_picture, resize, resized_shape
from glorext.runtime import DataError, InferenceError, atomic_path, set_device, write_json
from glorext.runtime.cli import parser
from glorext.train.data import evaluation_steps

STAGES = ("decode", "resize", "crop", "normalize")


@dataclass(frozen=True)
class Difference:
    """One way compared with MindSpore's pipeline after one stage: largest and mean absolute difference."""

    way: str
    stage: str
    max: float
    mean: float
    passed: bool


def by_mindspore(path: Path, spec: InputSpec) -> dict[str, np.ndarray]:
    """Each stage by the operations that training's evaluation uses."""
    decode, squeeze, center, *finish = evaluation_steps(spec)
    stages = {"decode": decode(np.frombuffer(path.read_bytes(), np.uint8))}
    stages["resize"] = squeeze(stages["decode"])
    stages["crop"] = center(stages["resize"])
    stages["normalize"] = stages["crop"]
    for step in finish:
        stages["normalize"] = step(stages["normalize"])
    return stages


def by_numpy(path: Path, spec: InputSpec) -> dict[str, np.ndarray]:
    """Each stage by the NumPy and Pillow reference."""
    decoded = read_picture(path)
    cropped = crop(decoded, spec)
    return {
        "decode": decoded,
        "resize": resize(decoded, *resized_shape(decoded.shape[0], decoded.shape[1], spec)),
        "crop": cropped,
        "normalize": normalize(cropped, spec),
    }


def by_cpp(path: Path, spec: InputSpec, programs: Programs) -> dict[str, np.ndarray]:
    """Each stage by the C++ program that offline inference uses."""
    with tempfile.TemporaryDirectory(prefix="glorext-pixels-") as scratch:
        write_json(Path(scratch) / "spec.json", spec.to_dict())
        out = Path(scratch) / "out"
        command = [programs.pixels, "--input_spec", f"{scratch}/spec.json", "--out", out, path.absolute()]
        run_program([str(word) for word in command])
        return {stage: np.load(out / "0" / f"{stage}.npy", allow_pickle=False) for stage in STAGES}


def ways(path: Path, spec: InputSpec, programs: Programs | None) -> dict[str, dict[str, np.ndarray]]:
    """Every stage of every way that can run here; "aipp" has only the last, from MindSpore's crop."""
    path = Path(path)
    if not path.is_file():
        raise DataError(expected="a picture file", found="no such file", where=path)
    # NumPy first: it refuses the files at which MindSpore's decoder would end the process.
    numpy = by_numpy(path, spec)
    found = {"mindspore": by_mindspore(path, spec), "numpy": numpy}
    if programs is not None:
        found["cpp"] = by_cpp(path, spec, programs)
    found["aipp"] = {"normalize": aipp.apply(found["mindspore"]["crop"], spec)}
    return found


def differences(found: dict[str, dict[str, np.ndarray]]) -> list[Difference]:
    """Every way compared with MindSpore's, stage by stage, in the order of the stages."""
    rows = []
    for stage in STAGES:
        reference = found["mindspore"][stage]
        for way, stages in found.items():
            if way == "mindspore" or stage not in stages:
                continue
            if stages[stage].shape != reference.shape:
                raise InferenceError(expected=f"{reference.shape} after {stage}", found=stages[stage].shape, where=way)
            apart = np.abs(stages[stage].astype(np.float64) - reference.astype(np.float64))
            passed = (
                apart.max() <= NORMALIZED[way]
                if stage == "normalize"
                else apart.max() <= MAX_LEVELS and apart.mean() <= MEAN_LEVELS
            )
            rows.append(Difference(way, stage, float(apart.max()), float(apart.mean()), bool(passed)))
    return rows


def dump(found: dict[str, dict[str, np.ndarray]], out: Path) -> None:
    """Write every stage of every way as OUT/<way>/<stage>.png, the normalized one as .npy."""
    from PIL import Image

    for way, stages in found.items():
        for stage, array in stages.items():
            final = Path(out) / way / f"{stage}.{'npy' if stage == 'normalize' else 'png'}"
            with atomic_path(final) as temporary:
                np.save(temporary, array) if stage == "normalize" else Image.fromarray(array).save(temporary)


def main(argv: list[str]) -> int:
    """`glorext preprocess-check`: exit status 1 when a way departs from training's pipeline."""
    arguments = parser(
        "preprocess-check",
        "Preprocess a picture in MindSpore, NumPy, C++ and AIPP's arithmetic, and compare them stage by stage.",
        "glorext preprocess-check cat.jpg --network glore_res50 --out stages/",
    )
    arguments.add_argument("image", type=Path)
    arguments.add_argument("--network", default="resnext50", help="whose input contract to use (default resnext50)")
    arguments.add_argument("--source", help="a published name, package or run, whose input contract to use instead")
    add_registry_argument(arguments)
    arguments.add_argument("--out", type=Path, help="write every stage of every way into this folder")
    arguments.add_argument("--aipp", action="store_true", help="print the AIPP text for Ascend as well")
    arguments.add_argument("--json", action="store_true", help="print the differences as JSON")
    options = arguments.parse_args(argv)
    if options.source:
        spec = open_model(options.source, options.registry, wanted=IDENTITY).input_spec
    else:
        spec = model_spec(options.network).input
    set_device("CPU")
    found = ways(options.image, spec, build())
    rows = differences(found)
    if options.out:
        dump(found, options.out)
    if options.json:
        text = {"aipp": aipp.aipp_text(spec)} if options.aipp else {}
        print(json.dumps({"differences": [asdict(row) for row in rows], **text}))
    else:
        _show(rows)
        if options.aipp:
            print(aipp.aipp_text(spec), end="")
    return int(not all(row.passed for row in rows))


def _show(rows: list[Difference]) -> None:
    print(f"{'stage':<10} {'way':<6} {'max':>10} {'mean':>10}   against MindSpore's evaluation pipeline")
    for row in rows:
        print(f"{row.stage:<10} {row.way:<6} {row.max:>10.3g} {row.mean:>10.3g}   {'' if row.passed else 'DEPARTS'}")
    for way in dict.fromkeys(row.way for row in rows):
        first = next((row for row in rows if row.way == way and row.max > 0), None)
        if first is None:
            print(f"{way}: equal to the bit in every stage")
        else:
            print(f"{way}: first differs after {first.stage}, by at most {first.max:.3g}")
