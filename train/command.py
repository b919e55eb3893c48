"""`glorext train` and `python -m glorext.train`: flags to a recipe, and the run."""

from __future__ import annotations

import dataclasses
import os
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter
from jsonargparse.typing import NonNegativeInt, PositiveInt

from glorext.hub.find import IDENTITY
from glorext.hub.open_model import MODEL, open_model
from glorext.models.labels import LABELS
from glorext.runtime import completion
from glorext.runtime.arguments import spelled, unknown_flag
from glorext.runtime.errors import UsageError
from glorext.runtime.files import json_bytes
from glorext.runtime.log import get_logger

from .callbacks import Callback
from .distributed import launched
from .recipe import Flag, Recipe, scaled_epochs, with_resize
from .recipe_file import add_recipe_flags, load_recipe, recipe_names, under_one_name
from .resume import fitted
from .run_paths import read_paths, resolved
from .verify_resume import verify_resume

if TYPE_CHECKING:
    from .loop import Interrupted, Outcome

logger = get_logger("train")
STOPPED = 130  # exit status after SIGTERM or Ctrl-C, with the state saved
FOLDER = ("--out", "--ckpt_path", "--save_checkpoint_path")
EXAMPLE = "glorext train --recipe digits --data digits/train --val_dir digits/val --out runs/digits"


def make_parser():
    """All flags: the run's own and one per key of a recipe, with the published spellings."""

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the example on a line of its own."""

    parser = ArgumentParser(
        prog="glorext train",
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=Formatter,
        epilog=f"example:\n  {EXAMPLE}",
        description="Train a network from a recipe; every key of the recipe is a flag.",
    )
    parser.add_argument(
        "--recipe", type=str, default="resnext50_imagenet", help=f"YAML file, or one of {', '.join(recipe_names())}"
    )
    parser.add_argument(
        "--data",
        dest="data_dir",
        metavar="FOLDER",
        type=str | None,
        help="training pictures: FOLDER/<class>/<file>, a folder with train and val, or a list (.txt, .csv)",
    )
    parser.add_argument("--val_dir", type=str | None, help="validation pictures or a list, evaluated after every epoch")
    parser.add_argument("--labels", type=str | None, help="file with one class name per line, in index order")
    parser.add_argument(
        "--device", dest="device_target", metavar="DEVICE", type=str, default="auto", help="auto, CPU, GPU or Ascend"
    )
    parser.add_argument("--device_id", type=NonNegativeInt | None, help="which card")
    parser.add_argument(
        "--is_distributed",
        "--run_distribute",
        type=Flag | None,
        help="1: msrun must have started this process; 0: it must not",
    )
    parser.add_argument(
        "--resume",
        type=str | None,
        help="a run's folder, which is enough to go on; one of its checkpoints; auto: --out, if it holds a run",
    )
    parser.add_argument("--stop_after", type=PositiveInt | None, help="save the state and stop at that step")
    parser.add_argument(
        "--verify_resume",
        type=PositiveInt | None,
        metavar="K",
        help="train K steps twice, once killed and resumed, and compare every bit; keeps nothing",
    )
    parser.add_argument("--json", action="store_true", help="print how the run ended as JSON")
    add_recipe_flags(parser)
    # These flags set keys of the recipe that have other names.
    parser.add_argument(
        "--from",
        type=str | None,
        metavar="MODEL",
        help=f"{MODEL} to start from, with its network and input and a new classifier for the folder's classes",
    )
    parser.add_argument("--image_size", "--image_height", type=str | None, help="published spelling of --input.size")
    parser.add_argument("--use_autoaugment", type=Flag | None, help="published spelling of --augmentation")
    return parser


def parse(argv: list[str], runs: bool = True) -> tuple[dict, Recipe]:
    """The run's own flags, and the recipe with the flags' changes.

    Args:
        runs: whether a run follows, which needs pictures and, where layers are frozen, a model to start from.

    Raises:
        RecipeError, UsageError: wrong flags; jsonargparse's message names them.
    """
    parser = make_parser()
    if completion.asked():
        parser.parse_args([])  # jsonargparse answers the shell itself, and ends the process
    argv = spelled(argv, parser._option_string_actions)
    try:
        if _flag(argv, "--from") and _flag(argv, "--pretrained"):
            raise UsageError(expected="--from or --pretrained", found="both")
        resumed = _resumed(argv)
        base, source = _base(argv, resumed)
        keys = {item.name for item in dataclasses.fields(Recipe)}
        parser.set_defaults(**dataclasses.asdict(base))
        if resumed and (paths := read_paths(resumed)):
            parser.set_defaults(data_dir=paths.data_dir, val_dir=paths.val_dir, device_target=paths.device)
        if resumed:
            parser.set_defaults(labels=str(resumed / LABELS))
        given = parser.parse_args(argv).as_dict()
    except ArgumentError as error:
        said = unknown_flag(argv, parser._option_string_actions) or " ".join(str(error).split())
        raise UsageError(said, do="`glorext train --help` lists the flags.") from None
    if runs and given["data_dir"] is None:
        raise UsageError(expected="--data FOLDER, the training pictures", found="none")
    if resumed:
        given["resume"] = given["resume"] if Path(given["resume"]).is_file() else "auto"
    values = {key: given.pop(key) for key in keys}
    if given["from"]:
        values |= {"pretrained": source, "new_head": True}
    published = {key: given[key] for key in ("image_size", "use_autoaugment") if given[key] is not None}
    changed = under_one_name(published, "the flags")
    values["input"] = _input(argv, base, {**values["input"], **changed.pop("input", {})})
    if values["epochs"] != base.epochs:
        follow = scaled_epochs(base, values["epochs"])
        values |= {key: value for key, value in follow.items() if _flag(argv, f"--{key}") is None}
    recipe = Recipe(**(values | changed))
    if runs:
        recipe.require_start()
    recipe.input_spec()
    return given, recipe


def _input(argv: list[str], base: Recipe, given: dict) -> dict:
    """The recipe's input after the flags: --image_size and --input.size take `resize` along unless it is given too."""
    if "resize" in (_flag(argv, "--input") or "") or _flag(argv, "--input.resize"):
        return given
    kept = {key: value for key, value in given.items() if key != "resize"}
    scaled = with_resize(kept, base.input_spec())
    return scaled if "resize" in scaled else given


def _resumed(argv: list[str]) -> Path | None:
    """The folder of the run that --resume goes on with; None for a new run.

    Raises:
        UsageError: the folder that --resume names holds no run.
    """
    what = _flag(argv, "--resume")
    if what is None:
        return None
    named, chosen = _flag(argv, *FOLDER), _flag(argv, "--recipe")
    usual = load_recipe(*([chosen] if chosen else [])).ckpt_path
    folder = Path(named or usual) if what == "auto" else Path(what)
    folder = folder.parent if folder.is_file() else folder
    if named and Path(named).resolve() != folder.resolve():
        raise UsageError(
            expected=f"{folder}, the folder of the run",
            found=named,
            where="--out",
            do="Leave --out away, or copy the run.",
        )
    if (folder / "recipe.yaml").is_file():
        return folder
    if what == "auto":
        return None
    raise UsageError(
        expected="the folder of a run, or one of its checkpoints",
        found="no recipe.yaml" if folder.is_dir() else "no such folder",
        where=f"--resume {what}",
        do="Check the path; --resume auto starts a new run where there is none.",
    )


def _base(argv: list[str], resumed: Path | None) -> tuple[Recipe, str | None]:
    """The recipe that flags change, and what its weights come from: the run's own, or the chosen one with --from."""
    chosen, start = _flag(argv, "--recipe"), _flag(argv, "--from")
    if resumed is None:
        source, like = _source(start)
        return load_recipe(*([chosen] if chosen else []), **like), source
    before, paths = load_recipe(resumed / "recipe.yaml"), read_paths(resumed)
    source = paths.pretrained if paths else before.source
    workers = before.workers and min(before.workers, os.cpu_count() or 1)  # another machine may have fewer cores
    before = dataclasses.replace(
        before, workers=workers, rank=0, group_size=1, pretrained=source, ckpt_path=str(resumed)
    )
    if start and source not in (start, resolved(start)) and not str(source).startswith(f"{start}@"):
        source = start  # which the run refuses
    if chosen and _flag(argv, "--resume") == "auto":
        like = {"network": before.network, "network_args": before.network_args, "input": before.input}
        return load_recipe(chosen, ckpt_path=str(resumed), **(like if start else {})), source
    if chosen:
        logger.warning("--recipe %s is not read: the run in %s has its own", chosen, resumed)
    return before, source


def _source(what: str | None) -> tuple[str | None, dict]:
    """What one starts from, a published name with its version, and the network and input that come with it."""
    if what is None:
        return None, {}
    model = open_model(what, wanted=IDENTITY)
    like = {"network": model.network, "network_args": model.network_args}
    if model.folder:  # a bare checkpoint does not say for which input it was trained
        like["input"] = model.input_spec.to_dict()
    # All processes of a run start from the same version.
    return (f"{what}@{model.version}" if what == model.name and not Path(what).exists() else what), like


def _flag(argv, *names):
    """The last value of a flag under any of its names, as the scripts' own flags come before the user's."""
    value = None
    for word, following in zip(argv, [*argv[1:], None]):
        if word in names:
            value = following
        elif word.partition("=")[0] in names:
            value = word.partition("=")[2]
    return value


def main(argv: list[str]) -> int:
    """Train as the flags say."""
    try:
        return _run(argv)
    except KeyboardInterrupt:  # later ones stop the training with its state saved
        raise KeyboardInterrupt("before the first step, so nothing was saved; run the command again") from None


def _run(argv: list[str]) -> int:
    run, recipe = parse(argv)
    if run["verify_resume"] is not None:
        return verify_resume(spelled(argv, make_parser()._option_string_actions), run["verify_resume"])
    from .loop import Interrupted

    if run["is_distributed"] is not None and bool(run["is_distributed"]) != launched():
        raise UsageError(
            expected="msrun to have started this process" if run["is_distributed"] else "one process",
            found="one process" if run["is_distributed"] else "msrun",
            where="--is_distributed",
            do="See train/scripts.",
        )
    try:
        outcome = start(run, recipe, quiet=run["json"])
    except Interrupted as stop:
        _show_stop(run, recipe, stop)
        return STOPPED
    if outcome.stopped:
        _show_stop(run, recipe, outcome.stopped)
        return 0
    if not outcome.is_writer:
        return 0
    if run["json"]:
        _print_json(folder=str(outcome.folder), top1=outcome.top1 if outcome.top1 >= 0 else None, epoch=outcome.epoch)
    elif outcome.top1 >= 0:
        print(f"best top-1 {outcome.top1:.2%} after epoch {outcome.epoch}: {outcome.folder / 'best.ckpt'}")
    else:
        print(f"not evaluated; the last weights: {outcome.folder / 'best.ckpt'}")
    return 0


def start(run: dict, recipe: Recipe, callbacks: Sequence[Callback] = (), quiet: bool = False) -> Outcome:
    """Train as `parse` read it.

    Raises:
        Interrupted: after SIGTERM or Ctrl-C; where `stop_after` or a callback ended the run, `Outcome.stopped` is it.
    """
    from .loop import train

    return train(
        recipe,
        run["data_dir"],
        run["val_dir"],
        quiet=quiet,
        callbacks=callbacks,
        device=run["device_target"],
        **{key: run[key] for key in ("labels", "device_id", "resume", "stop_after")},
    )


def _show_stop(run: dict, recipe: Recipe, stop: Interrupted) -> None:
    if not run["json"]:
        print(stop)
    elif stop.checkpoint:
        _print_json(folder=recipe.ckpt_path, stopped=str(stop.checkpoint))


def require_devices(parsed: tuple[dict, Recipe], devices: int) -> None:
    """Raise RecipeError unless so many devices can go on with the run that `parse` was told to resume."""
    run, recipe = parsed
    path = Path(recipe.ckpt_path) / "recipe.yaml"
    if run["resume"] and path.is_file():
        fitted(recipe, load_recipe(path), devices, path)


def _print_json(**values) -> None:
    print(json_bytes(values).decode(), end="")
