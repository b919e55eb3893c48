"""One archive for the machine with the card: model, contract, golden inputs, C++ sources and a self-test; no Python."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from glorext.deploy.contract.aipp import pixels_of
from glorext.deploy.contract.artifact import Artifact, contract_path
from glorext.deploy.contract.closeness import converted_tolerance, relative_tolerance
from glorext.deploy.contract.golden import golden_paths, read_golden
from glorext.deploy.convert.ascend import (
    AscendOptions,
    Plan,
    add_card_arguments,
    atc_text,
    chosen_card,
    kept_operators,
    plan,
    require_no_list,
)
from glorext.deploy.convert.converter import convert
from glorext.deploy.export.exporter import export
from glorext.deploy.export.formats import Variant, add_variant_arguments, chosen_variant
from glorext.deploy.runners.common import LITE_DEVICES
from glorext.deploy.runners.programs import Programs, sources
from glorext.hub.open_model import add_model_arguments, chosen_model
from glorext.models.trained import TrainedModel
from glorext.runtime import UsageError, atomic_path, get_logger, json_bytes, set_device
from glorext.runtime.chips import FAMILIES
from glorext.runtime.cli import parser

logger = get_logger("deploy")
README = """{name}: offline inference with MindSpore Lite, without Python

  MINDSPORE_LITE_HOME=FOLDER ./selftest.sh {device}     build, run the golden inputs, PASS or FAIL for each
  ./build/glorext_infer --model {model} --images PICTURES --device {device} --out results

FOLDER is MindSpore Lite's SDK for this machine, with CANN set up (source .../set_env.sh), or the folder mindspore_lite
of the unpacked wheel. Needed besides: g++, cmake, make, libjpeg-dev, libpng-dev (openEuler and Kylin: gcc-c++, cmake,
make, libjpeg-turbo-devel, libpng-devel).

{file}       the model for the CPU; {file}.json is its contract: digest, input, preprocessing, labels
golden_*.npy  inputs and what MindSpore computed for them
cpp/          the sources of the programs
{card}
The self-test demands the same class, and {output} within the share of the largest expected one that LIMITS names:
{cpu} on the CPU, {on_card} on a card in half precision. The limit for cards is not measured: no card was at hand when
this was written.
"""
CARD_README = """card/         the last hop: an ONNX that every MindSpore Lite and atc read, the configuration of the
              converter, the contract of the result, and atc.sh, the command that makes an .om of it instead
convert.sh    converts it with FOLDER's converter; selftest.sh calls it the first time
"""


def _add(archive: tarfile.TarFile, name: str, data: bytes, executable: bool = False) -> None:
    # No times, users or modes of the machine that packs: the same package gives the same bytes.
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755 if executable else 0o644
    archive.addfile(entry, io.BytesIO(data))


def _script(name: str) -> bytes:
    return (files("glorext.deploy") / "scripts" / name).read_bytes()


def bundle(
    source: TrainedModel,
    out: Path,
    programs: Programs | None = None,
    variant: Variant = Variant(),
    card: AscendOptions | None = None,
) -> Path:
    """Export and convert `source`, and pack it with all that the self-test needs into `out`, a .tar.gz.

    The archive holds one folder named after the model. It appears whole or not at all.

    Args:
        variant: what to export of the network.
        card: prepare the conversion on the machine with this card as well.

    Raises:
        UsageError: `card` cannot run such a model; and what `export` and `convert` raise.
    """
    out, name = Path(out), source.name
    with tempfile.TemporaryDirectory(prefix="glorext-bundle-") as scratch:
        folder = Path(scratch)
        # The card first: what it refuses is refused before the work.
        parts = _card_parts(source, folder / "card", variant, card) if card else {}
        (exported,) = export(source, folder, ["mindir"], variant=variant)
        (model,) = convert(folder / exported.file, folder, ["mindir"], programs)
        parts |= {part.name: part.read_bytes() for part in (folder / model.file, contract_path(folder / model.file))}
        golden = golden_paths(folder, Path(exported.file).stem)
        parts |= {f"golden_{what}.npy": path.read_bytes() for what, path in zip(("input", "output"), golden)}
    cpp = [path for path in sources().rglob("*") if path.is_file()]
    parts |= {f"cpp/{path.relative_to(sources())}": path.read_bytes() for path in cpp}
    limits = {
        device: f"{relative_tolerance(converted_tolerance(device), model.output.name):g}" for device in LITE_DEVICES
    }
    used = {
        "file": model.file,
        "model": f"card/{parts['card/MODEL'].decode().strip()}" if card else model.file,
        "device": card.target if card else "ascend310",
        "card": CARD_README if card else "",
        "output": model.output.name,
        "cpu": limits["cpu"],
        "on_card": limits["ascend310"],
    }
    parts |= {
        "selftest.sh": _script("selftest.sh"),
        "MODEL": f"{model.file}\n".encode(),
        "OUTPUT": f"{model.output.name}\n".encode(),
        "LIMITS": "".join(f"{device} {limit}\n" for device, limit in limits.items()).encode(),
        "README.txt": README.format(name=name, **used).encode(),
    }
    with (
        atomic_path(out) as temporary,
        gzip.GzipFile(temporary, "wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(parts):
            _add(archive, f"{name}/{path}", parts[path], path.endswith(".sh"))
    logger.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return out


def _card_parts(source: TrainedModel, folder: Path, variant: Variant, card: AscendOptions) -> dict[str, bytes]:
    """What the machine with the card needs to convert the model itself: path in the bundle -> bytes."""
    require_no_list(card)  # convert.sh calls the converter
    (exported,) = export(source, folder, ["onnx"], "dynamic" if card.dynamic_dims else 1, variant=variant)
    stem = Path(exported.file).stem
    model = f"{stem}_{card.target}.mindir"
    planned = plan(exported, card, Path(model).stem, kept_operators(folder / exported.file, exported, card))
    inputs = read_golden(folder / exported.file).inputs
    packed = io.BytesIO()
    np.save(packed, pixels_of(inputs, source.input_spec) if card.aipp else inputs)
    return {
        f"card/{path}": data
        for path, data in {
            exported.file: (folder / exported.file).read_bytes(),
            "golden_input.npy": packed.getvalue(),
            "SOURCE": f"{exported.file}\n".encode(),
            "MODEL": f"{model}\n".encode(),
            "TARGET": f"{card.target}\n".encode(),
            "BATCHES": f"{' '.join(map(str, card.dynamic_dims))}\n".encode(),
            "contract.json.in": _contract_template(exported, model, planned, card),
            "atc.sh": atc_text(planned, card).encode(),
            **{name: text.encode() for name, text in planned.files.items()},
        }.items()
    } | {"convert.sh": _script("convert.sh")}


def _contract_template(exported: Artifact, model: str, planned: Plan, card: AscendOptions) -> bytes:
    """The contract of the model that convert.sh writes, with @SIZE@ and @SHA256@ for it to fill in."""
    source = {"file": exported.file, "sha256": exported.sha256}
    artifact = replace(
        exported, file=model, format="lite-mindir", source=source, input=planned.input, device=card.device
    )
    return json_bytes(artifact.to_dict() | {"size": "@SIZE@", "sha256": "@SHA256@"})


def main(argv: list[str]) -> int:
    """`glorext bundle`."""
    arguments = parser(
        "bundle",
        "Pack a model with its C++ program and a self-test for the machine with the card.",
        "glorext bundle resnext50-digits resnext50-digits.tar.gz --target ascend310",
    )
    add_model_arguments(arguments)
    arguments.add_argument("out", type=Path, help="the archive, .tar.gz")
    add_variant_arguments(arguments)
    arguments.add_argument(
        "--target",
        help=f"prepare the conversion on the machine with this card: {', '.join(FAMILIES)}, or a chip's exact name",
    )
    add_card_arguments(arguments)
    options = arguments.parse_args(argv)
    card = chosen_card(options) if options.target else None
    if card is None and (options.dynamic_dims or options.aipp or options.keep_fp32):
        raise UsageError("--dynamic_dims, --aipp and --keep_fp32 are for a card", do="Name it with --target.")
    set_device("CPU")
    print(bundle(chosen_model(options), options.out, variant=chosen_variant(options), card=card))
    return 0
