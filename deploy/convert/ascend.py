"""The plan of a conversion for an Ascend card: the converter's configuration, its command, and the same with atc.

All of it is decided from the model's contract and needs neither a card nor CANN. MindSpore Lite's converter does not
check `[ascend_context]` on a host without CANN, unknown keys included, so the checks stand here. The converter takes
the chip from the card that is there: a `ge.socVersion` in its configuration could only name another one.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from glorext.deploy.contract.aipp import aipp_text
from glorext.deploy.contract.artifact import LARGEST_PREPARED, MOST_PREPARED, Artifact, Device, Port, is_prepared
from glorext.deploy.export import onnx_file
from glorext.deploy.runners.ascend_host import chip_here
from glorext.runtime import DataError, UsageError
from glorext.runtime.chips import chips_of, target_of

CONFIG_FILE, AIPP_FILE, KEEP_FILE = "ascend.cfg", "aipp.cfg", "keep_dtype.cfg"
# Stands in atc's command for a chip that nobody named.
CHIP = "CHIP"
# MindSpore Lite's precision modes -> atc's (converter_tool_ascend of MindSpore Lite 2.0; CANN, ATC manual).
PRECISION = {
    "enforce_fp16": "force_fp16",
    "preferred_fp32": "allow_fp32_to_fp16",
    "enforce_fp32": "force_fp32",
    "enforce_origin": "must_keep_origin_dtype",
    "preferred_optimal": "allow_mix_precision",
}
LOSSY = ("enforce_fp16", "preferred_optimal")
FORMATS = ("onnx", "mindir")


@dataclass(frozen=True)
class AscendOptions:
    """What the user asks for.

    Attributes:
        target: a family of chips, or one chip's exact name (see `runtime.chips.target_of`).
        dynamic_dims: the batch sizes the model is prepared for; empty for a fixed batch.
        precision_mode: a key of PRECISION.
        aipp: let the card normalize uint8 pictures.
        keep_fp32: layers that must stay in float32.
        chip: the exact chip, "Ascend310P3"; None where nobody named it and its family has several.
    """

    target: str
    dynamic_dims: tuple[int, ...] = ()
    precision_mode: str = "enforce_fp16"
    aipp: bool = False
    keep_fp32: tuple[str, ...] = ()
    chip: str | None = None

    def __post_init__(self):
        family, chip = target_of(self.target)
        object.__setattr__(self, "target", family)
        object.__setattr__(self, "chip", self.chip or chip)

    @property
    def device(self) -> Device:
        """What the contract of the result says of where it runs."""
        return Device(self.target, self.chip, self.dynamic_dims)


@dataclass(frozen=True)
class Plan:
    """One conversion: its `files` (name -> text), the result's `input`, and the `atc` command that does the same.

    `atc` is empty for a MINDIR, of which atc reads none, and names `CHIP` where the exact chip is not known.
    """

    files: dict[str, str]
    atc: list[str]
    input: Port


def plan(artifact: Artifact, options: AscendOptions, output: str, operators: tuple[str, ...] = ()) -> Plan:
    """The conversion of `artifact` for a card; refuses, before any work starts, what cannot run there.

    Args:
        artifact: contract of an exported mindir or onnx.
        options: what the user asks for.
        output: name of the result without its ending, for atc.
        operators: nodes of an ONNX file that atc shall leave in float32 (see `kept_operators`).

    Raises:
        UsageError: an unknown value, or a combination that the card or the converter cannot serve; says why.
    """
    _check(artifact, options)
    batch, channels, height, width = artifact.input.shape
    context = {"input_format": artifact.input.layout, "precision_mode": options.precision_mode}
    if options.dynamic_dims:
        # Only a dynamic batch is declared here; a fixed one stands in the model itself.
        shape = f"{artifact.input.name}:[{batch},{channels},{height},{width}]"
        context |= {"input_shape": shape, "dynamic_dims": ",".join(f"[{size}]" for size in options.dynamic_dims)}
    if options.precision_mode not in LOSSY:
        context["op_select_impl_mode"] = "high_precision"
    files = {}
    if options.aipp:
        files[AIPP_FILE] = aipp_text(artifact.input_spec)
        context["insert_op_config_file_path"] = AIPP_FILE
    if operators:
        files[KEEP_FILE] = "".join(f"{name}\n" for name in operators)
    lines = (f"{key}={value}" for key, value in context.items())
    files[CONFIG_FILE] = "\n".join(["[ascend_context]", *lines, ""])
    # AIPP's own input is the picture as it lies in memory, whatever the model's layout (CANN, ATC manual).
    pixels = Port(artifact.input.name, "uint8", (batch, height, width, channels), "NHWC", "pixels")
    atc = _atc(artifact, options, output, operators) if artifact.format == "onnx" else []
    return Plan(files, atc, pixels if options.aipp else artifact.input)


def _atc(artifact: Artifact, options: AscendOptions, output: str, operators: tuple[str, ...]) -> list[str]:
    command = [
        "atc",
        "--framework=5",
        f"--model={artifact.file}",
        f"--output={output}",
        f"--soc_version={options.chip or CHIP}",
        f"--input_format={artifact.input.layout}",
        f"--input_shape={artifact.input.name}:{','.join(map(str, artifact.input.shape))}",
        f"--precision_mode={PRECISION[options.precision_mode]}",
    ]
    if options.dynamic_dims:
        command.append(f"--dynamic_batch_size={','.join(map(str, options.dynamic_dims))}")
    if options.aipp:
        command.append(f"--insert_op_conf={AIPP_FILE}")
    if operators:
        command.append(f"--keep_dtype={KEEP_FILE}")
    return command


def atc_text(found: Plan, options: AscendOptions) -> str:
    """The command of `found` as a shell reads it, its first argument the chip where that is not known; or why none."""
    if not found.atc:
        return "# atc reads no MINDIR (--framework=1 is for AIR): export with --format onnx for it\n"
    command = f"{shlex.join(found.atc)}\n"
    if options.chip:
        return f"# the same with atc\n{command}"
    names = ", ".join(chip.soc for chip in chips_of(options.target))
    return (
        f"# the same with atc, which needs the exact name of the chip: one of {names}\n"
        '# ("Ascend" and the Name of `npu-smi info`; on A3 Chip Name_NPU Name of `npu-smi info -t board -i 0 -c 0`)\n'
        f"{CHIP}=${{1:?the exact name of the chip, such as {chips_of(options.target)[0].soc}}}\n"
        + command.replace(f"--soc_version={CHIP}", f'--soc_version="${CHIP}"')
    )


def kept_operators(model: Path, artifact: Artifact, options: AscendOptions) -> tuple[str, ...]:
    """Names of the nodes of an ONNX file that hold the parameters of the layers in the keep list.

    Raises:
        DataError: a layer of the list has none, or its node has no name that atc could be told.
    """
    if not options.keep_fp32 or artifact.format != "onnx":
        return ()
    graph, found = onnx_file.read(model).graph, []
    weights = {weight.name for weight in graph.initializer}
    for layer in options.keep_fp32:
        own = [
            node.name
            for node in graph.node
            if any(name in weights and name.startswith(f"{layer}.") for name in node.input)
        ]
        if not own or not all(own):
            raise DataError(
                expected=f"named nodes of the layer {layer}",
                found="none",
                where=model,
                do="Name layers with parameters, as `glorext parity --bisect` does.",
            )
        found += own
    return tuple(dict.fromkeys(found))


def _check(artifact: Artifact, options: AscendOptions) -> None:
    if options.precision_mode not in PRECISION:
        raise UsageError(
            expected=f"a precision mode out of {', '.join(PRECISION)}",
            found=options.precision_mode,
            where="--precision_mode",
        )
    if artifact.format not in FORMATS:
        raise UsageError(
            expected=f"an exported model out of {', '.join(FORMATS)}", found=artifact.format, where=artifact.file
        )
    sizes = options.dynamic_dims
    if not is_prepared(sizes):
        raise UsageError(
            expected=f"at most {MOST_PREPARED} rising batch sizes from 1 to {LARGEST_PREPARED}",
            found=",".join(map(str, sizes)),
            where="--dynamic_dims",
        )
    _check_combination(artifact, options)


def _check_combination(artifact: Artifact, options: AscendOptions) -> None:
    sizes, batch, layout = options.dynamic_dims, artifact.input.batch, artifact.input.layout
    mode = options.precision_mode
    impossible = {
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
        f"{mode} turns every layer to float16, {len(options.keep_fp32)} of the keep list among them, and only atc "
        "takes such a list": (
            options.keep_fp32 and mode == "enforce_fp16" and artifact.format != "onnx",
            "Export with --format onnx for atc, or choose --precision_mode preferred_fp32 or enforce_origin.",
        ),
    }
    for reason, (wrong, do) in impossible.items():
        if wrong:
            raise UsageError(reason, do=do)


def require_no_list(options: AscendOptions) -> None:
    """Raise UsageError where MindSpore Lite's converter would make float16 of the layers that must stay in float32."""
    if options.keep_fp32 and options.precision_mode == "enforce_fp16":
        raise UsageError(
            "MindSpore Lite's converter takes no list of layers that stay in float32",
            where="--keep_fp32",
            do="Use atc as `glorext convert --dry_run` shows for ONNX, or choose --precision_mode preferred_fp32 or "
            "enforce_origin.",
        )


def add_card_arguments(parser) -> None:
    """Add the options of a conversion for a card to a command's parser; `chosen_card` reads them, and --target."""
    parser.add_argument("--dynamic_dims", default="", help="Ascend: batch sizes to prepare for, such as 1,4,8")
    parser.add_argument("--precision_mode", default="enforce_fp16", choices=PRECISION, help="Ascend")
    parser.add_argument("--aipp", action="store_true", help="Ascend: normalize uint8 pictures on the card")
    parser.add_argument("--keep_fp32", default="", help="Ascend: comma list of layers that must stay in float32")


def chosen_card(options) -> AscendOptions:
    """The conversion that a command's parsed arguments ask for.

    Raises:
        UsageError: an unknown target, or sizes that are no numbers.
    """
    try:
        sizes = tuple(int(size) for size in options.dynamic_dims.split(",") if size)
    except ValueError:
        raise UsageError(expected="numbers such as 1,4,8", found=options.dynamic_dims, where="--dynamic_dims") from None
    keep = tuple(layer for layer in options.keep_fp32.split(",") if layer)
    return AscendOptions(options.target, sizes, options.precision_mode, options.aipp, keep)


def for_chip_here(card: AscendOptions) -> AscendOptions:
    """`card` with the chip of this machine where only a family was named and the chip is of it."""
    return card if card.chip else replace(card, chip=chip_here(card.target))


def write_files(found: Plan, folder: Path) -> Path:
    """Write the plan's files, AIPP's named by its full path; the path of the converter's configuration."""
    for name, text in found.files.items():
        (folder / name).write_text(text.replace(f"={AIPP_FILE}", f"={(folder / AIPP_FILE).absolute()}"))
    return folder / CONFIG_FILE
