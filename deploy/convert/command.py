"""`glorext convert`: exported models for the CPU or an Ascend card, or with --dry_run what would be done for them."""

from __future__ import annotations

import shlex
from pathlib import Path

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.convert.ascend import (
    CONFIG_FILE,
    AscendOptions,
    add_card_arguments,
    atc_text,
    chosen_card,
    for_chip_here,
    kept_operators,
    plan,
)
from glorext.deploy.convert.converter import (
    OUTPUTS,
    ROUTES,
    check_formats,
    convert_routes,
    convert_routes_for_card,
    route,
)
from glorext.deploy.convert.readable import remembered
from glorext.deploy.convert.run_converter import converter_command
from glorext.deploy.runners.find_lite import locate
from glorext.deploy.runners.programs import Programs
from glorext.runtime import UsageError
from glorext.runtime.chips import FAMILIES
from glorext.runtime.cli import parser


def main(argv: list[str]) -> int:
    """`glorext convert`."""
    arguments = parser(
        "convert",
        "Convert exported models with MindSpore Lite; the results are run and compared.",
        "glorext convert exported/resnext50-digits.mindir --out converted/",
    )
    arguments.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="model",
        help="an exported MINDIR or ONNX with its contract beside it; both: one checks the other, on a card as well",
    )
    arguments.add_argument("--out", type=Path, help="folder for the converted models")
    arguments.add_argument("--format", default="mindir,ms", help=f"comma list of {', '.join(OUTPUTS)}; for the cpu")
    arguments.add_argument(
        "--target",
        default="cpu",
        help=f"cpu (default), {', '.join(FAMILIES)}, or a chip's exact name such as Ascend310P3; "
        "of a family the chip that is here",
    )
    add_card_arguments(arguments)
    arguments.add_argument("--dry_run", action="store_true", help="print configuration and commands, do nothing")
    options = arguments.parse_args(argv)
    if options.out is None and not options.dry_run:
        raise UsageError(expected="--out FOLDER", found="none")
    if options.target != "cpu":
        return _main_for_card(options)
    formats = [name.strip().lower() for name in options.format.split(",")]
    if options.dry_run:
        for model in options.models:
            _show_commands(model, formats)
        return 0
    for artifact in convert_routes(options.models, options.out, formats):
        print(options.out / artifact.file)
    return 0


def _main_for_card(options) -> int:
    card = for_chip_here(chosen_card(options))
    if options.dry_run:
        for model in options.models:
            _show_plan(model, card)
        return 0
    for artifact in convert_routes_for_card(options.models, options.out, card):
        print(options.out / artifact.file)
    return 0


def _show_commands(model: Path, formats: list[str], config: Path | None = None, ending: str = "") -> None:
    """The converter's commands as they would be run here, for each of `formats`."""
    check_formats(formats)
    source, lite = read_artifact(model), locate(fetch=False)
    if lite is None:
        print("# MindSpore Lite is not on this machine yet: its command depends on which one it will be")
        return
    programs = Programs.below(Path(), lite)
    print(f"# by {route(source.format, config is not None)}, with MindSpore Lite {lite.version}'s converter")
    if source.format == "mindir" and not (reads := remembered(lite)):
        print(
            f"# it does not read MINDIR as this MindSpore writes it, so it gets a rewritten copy of {model.name}"
            if reads is False
            else "# it is asked first whether it reads MINDIR as this MindSpore writes it; if not, a copy is rewritten"
        )
    for name in formats:
        prefix = Path(f"{model.stem}{ROUTES[source.format]}{ending}")
        print(shlex.join(converter_command(model, prefix, OUTPUTS[name][0], source, programs, config)))


def _show_plan(model: Path, card: AscendOptions) -> None:
    source = read_artifact(model)
    found = plan(source, card, f"{model.stem}_{card.target}", kept_operators(model, source, card))
    for name, text in found.files.items():
        print(f"# {name}\n{text}")
    if card.keep_fp32:
        print("# the converter takes no list of layers that stay in float32: only atc does, as --keep_dtype")
    _show_commands(model, ["mindir"], Path(CONFIG_FILE), f"_{card.target}")
    print(atc_text(found, card), end="")
    print(
        f"# the result takes {found.input.dtype} {list(found.input.shape)}; not converted, not measured: "
        "this was a dry run"
    )
