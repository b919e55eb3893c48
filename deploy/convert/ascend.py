"""The plan of a conversion for an Ascend card: the converter's configuration, its command, and the same with atc.

All of it is decided from the model's contract and needs neither a card nor CANN. MindSpore Lite's converter does not
check `[ascend_context]` on a host without CANN, unknown keys included, so the checks stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glorext.deploy.contract.aipp import aipp_text
from glorext.deploy.contract.artifact import Artifact, Port
from glorext.runtime import UsageError
from glorext.runtime.chips import FAMILIES, chip_of

CONFIG_FILE, AIPP_FILE = "ascend.cfg", "aipp.cfg"
# MindSpore Lite's precision modes -> atc's (converter_tool_ascend of MindSpore Lite 2.0; CANN, ATC manual).
PRECISION = {
    "enforce_fp16": "force_fp16",
    "preferred_fp32": "allow_fp32_to_fp16",
    "enforce_fp32": "force_fp32",
    "enforce_origin": "must_keep_origin_dtype",
    "preferred_optimal": "allow_mix_precision",
}
LOSSY = ("enforce_fp16", "preferred_optimal")
MAX_SIZES, MAX_BATCH = 100, 2048
FRAMEWORKS = {"mindir": 1, "onnx": 5}


@dataclass(frozen=True)
class AscendOptions:
    """What the user asks for.

    Attributes:
        target: one of `runtime.chips.FAMILIES`.
        dynamic_dims: the batch sizes the model is prepared for; empty for a fixed batch.
        precision_mode: a key of PRECISION.
        aipp: let the card normalize uint8 pictures.
        keep_fp32: layers that must stay in float32.
    """

    target: str
    dynamic_dims: tuple[int, ...] = ()
    precision_mode: str = "enforce_fp16"
    aipp: bool = False
    keep_fp32: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One conversion: its `files` (name -> text), the `atc` command that does the same, and the result's `input`."""

    files: dict[str, str]
    atc: list[str]
    input: Port


def plan(artifact: Artifact, options: AscendOptions, output: str) -> Plan:
    """The conversion of `artifact` for a card; refuses, before any work starts, what cannot run there.

    Args:
        artifact: contract of an exported mindir or onnx.
        options: what the user asks for.
        output: name of the result without its ending, for atc.

    Raises:
        UsageError: an unknown value, or a combination that the card or the converter cannot serve; says why.
    """
    _check(artifact, options)
    chip, (batch, channels, height, width) = chip_of(options.target), artifact.input.shape
    shape = f"{artifact.input.name}:[{batch},{channels},{height},{width}]"
    context = {"input_format": artifact.input.layout, "precision_mode": options.precision_mode}
    if options.dynamic_dims:
        # Only a dynamic batch is declared here; a fixed one stands in the model itself.
        context |= {"input_shape": shape, "dynamic_dims": ",".join(f"[{size}]" for size in options.dynamic_dims)}
    if options.precision_mode not in LOSSY:
        context["op_select_impl_mode"] = "high_precision"
    files = {}
    if options.aipp:
        files[AIPP_FILE] = aipp_text(artifact.input_spec)
        context["insert_op_config_file_path"] = AIPP_FILE
    sections = {"ascend_context": context}
    if chip.lite_name:
        sections["acl_init_options"] = {"ge.socVersion": chip.lite_name}
    files[CONFIG_FILE] = "\n".join(
        line
        for name, values in sections.items()
        for line in (f"[{name}]", *(f"{key}={value}" for key, value in values.items()), "")
    )
    # AIPP's own input is the picture as it lies in memory, whatever the model's layout (CANN, ATC manual).
    pixels = Port(artifact.input.name, "uint8", (batch, height, width, channels), "NHWC", "pixels")
    return Plan(files, _atc(artifact, options, chip.soc, output), pixels if options.aipp else artifact.input)


def _atc(artifact: Artifact, options: AscendOptions, soc: str, output: str) -> list[str]:
    shape = ",".join(map(str, artifact.input.shape))
    command = [
        "atc",
        f"--framework={FRAMEWORKS[artifact.format]}",
        f"--model={artifact.file}",
        f"--output={output}",
        f"--soc_version={soc}",
        f"--input_format={artifact.input.layout}",
        f"--input_shape={artifact.input.name}:{shape}",
        f"--precision_mode={PRECISION[options.precision_mode]}",
    ]
    if options.dynamic_dims:
        command.append(f"--dynamic_batch_size={','.join(map(str, options.dynamic_dims))}")
    if options.aipp:
        command.append(f"--insert_op_conf={AIPP_FILE}")
    return command


def _check(artifact: Artifact, options: AscendOptions) -> None:
    if options.target not in FAMILIES:
        raise UsageError(expected=f"a target out of cpu, {', '.join(FAMILIES)}", found=options.target, where="--target")
    if options.precision_mode not in PRECISION:
        raise UsageError(
            expected=f"a precision mode out of {', '.join(PRECISION)}",
            found=options.precision_mode,
            where="--precision_mode",
        )
    if artifact.format not in FRAMEWORKS:
        raise UsageError(
            expected=f"an exported model out of {', '.join(FRAMEWORKS)}", found=artifact.format, where=artifact.file
        )
    sizes = options.dynamic_dims
    if list(sizes) != sorted(set(sizes)) or len(sizes) > MAX_SIZES or any(not 1 <= size <= MAX_BATCH for size in sizes):
        raise UsageError(
            expected=f"at most {MAX_SIZES} rising batch sizes from 1 to {MAX_BATCH}",
            found=",".join(map(str, sizes)),
            where="--dynamic_dims",
        )
    _check_combination(artifact, options)


def _check_combination(artifact: Artifact, options: AscendOptions) -> None:
    sizes, batch, layout = options.dynamic_dims, artifact.input.batch, artifact.input.layout
    mode = options.precision_mode
    impossible = {
        "AIPP is built for one batch size, so it excludes --dynamic_dims": (
            options.aipp and sizes,
            "Leave out one of the two.",
        ),
        "the model takes pixels: its normalization is in the graph, and AIPP would normalize again": (
            options.aipp and artifact.input.values == "pixels",
            "Leave out --aipp, or export without --pixels.",
        ),
        "the card's compiler takes uint8 only through AIPP (CANN, ATC manual)": (
            artifact.input.dtype == "uint8",
            "Export without --pixels and convert with --aipp, or export with --pixels float32.",
        ),
        "the card's compiler takes the input of a MINDIR or ONNX as NCHW only, and this model's is "
        f"{layout} (CANN, ATC manual, --input_format)": (
            layout != "NCHW",
            "Export with --layout NCHW; with --aipp the card itself takes NHWC.",
        ),
        f"the model was exported with the fixed batch {batch}, so there is nothing for --dynamic_dims to choose from": (
            batch > 0 and sizes,
            "Export with --batch dynamic, or leave out --dynamic_dims.",
        ),
        f"the model's batch is open, and {options.target} runs only the sizes it was built for": (
            batch < 0 and not sizes,
            "Name them, such as --dynamic_dims 1,4,8, or export with --batch 1.",
        ),
        f"{mode} turns every layer to float16, {len(options.keep_fp32)} of the keep list among them": (
            options.keep_fp32 and mode == "enforce_fp16",
            "Choose --precision_mode preferred_fp32 or enforce_origin.",
        ),
    }
    for reason, (wrong, do) in impossible.items():
        if wrong:
            raise UsageError(reason, do=do)


def add_card_arguments(parser) -> None:
    """Add the options of a conversion for a card to a command's parser; `chosen_card` reads them, and --target."""
    parser.add_argument("--dynamic_dims", default="", help="Ascend: batch sizes to prepare for, such as 1,4,8")
    parser.add_argument("--precision_mode", default="enforce_fp16", choices=PRECISION, help="Ascend")
    parser.add_argument("--aipp", action="store_true", help="Ascend: normalize uint8 pictures on the card")
    parser.add_argument("--keep_fp32", default="", help="Ascend: comma list of layers that must stay in float32")


def chosen_card(options) -> AscendOptions:
    """The conversion that a command's parsed arguments ask for; UsageError for sizes that are no numbers."""
    try:
        sizes = tuple(int(size) for size in options.dynamic_dims.split(",") if size)
    except ValueError:
        raise UsageError(expected="numbers such as 1,4,8", found=options.dynamic_dims, where="--dynamic_dims") from None
    keep = tuple(layer for layer in options.keep_fp32.split(",") if layer)
    return AscendOptions(options.target, sizes, options.precision_mode, options.aipp, keep)


def write_files(found: Plan, folder: Path) -> Path:
    """Write the plan's files, AIPP's named by its full path; the path of the converter's configuration."""
    for name, text in found.files.items():
        (folder / name).write_text(text.replace(f"={AIPP_FILE}", f"={(folder / AIPP_FILE).absolute()}"))
    return folder / CONFIG_FILE
