"""Reading a recipe: YAML and flags, in published spellings as well, into the typed dataclass."""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from glorext.runtime.errors import RecipeError, did_you_mean

from .recipe import Recipe, scaled_epochs, with_resize

RECIPES = Path(__file__).parent / "recipes"


def add_recipe_flags(parser) -> None:
    """Give a jsonargparse parser one typed flag per key of Recipe, with the published spellings beside it."""
    hints = get_type_hints(Recipe)
    for item in dataclasses.fields(Recipe):
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        parser.add_argument(
            f"--{item.name}",
            *(f"--{alias}" for alias in item.metadata["aliases"]),
            type=hints[item.name],
            default=default,
            metavar=item.name.upper(),
            help=item.metadata["help"],
        )


@lru_cache(maxsize=1)
def _typed():
    from jsonargparse import ArgumentParser  # here, as it takes as long to import as NumPy and few commands need it

    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add_recipe_flags(parser)
    return parser


@lru_cache(maxsize=1)
def _canonical() -> dict[str, str]:
    names = {item.name: item.name for item in dataclasses.fields(Recipe)}
    return names | {alias: item.name for item in dataclasses.fields(Recipe) for alias in item.metadata["aliases"]}


def under_one_name(values: dict, where) -> dict:
    """`values` with published spellings replaced by the keys of Recipe.

    Raises:
        RecipeError: an unknown key, or one key under two spellings.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in ("image_size", "image_height"):  # the published forms are '224,224' and [224, 224]
            sides = re.fullmatch(r"\[?(\d+)(\s*,\s*\1)?\]?", str(value))
            if not sides:
                raise RecipeError(expected="one number of pixels", found=value, where=f"key {key} of {where}")
            found["input"] = {**found.get("input", {}), "size": int(sides[1])}
            continue
        if key == "use_autoaugment":
            key, value = "augmentation", "autoaugment" if value else "crop_flip"
        name = _canonical().get(key)
        if name is None:
            raise RecipeError(expected="a key of a recipe", found=did_you_mean(key, _canonical()), where=where)
        if name == "input" and isinstance(value, dict):
            value = {**found.pop("input", {}), **value}
        if name in found:
            raise RecipeError(expected=f"{name} once", found=f"it again as {key}", where=where)
        found[name] = value
    return found


def make_recipe(values: dict, where="the arguments") -> Recipe:
    """A Recipe from plain values, published spellings allowed; `where` names their source in errors."""
    values = under_one_name(values, where)
    from jsonargparse import ArgumentError

    try:
        typed = _typed().parse_object(values)
    except ArgumentError as error:
        raise RecipeError(" ".join(str(error).split()), where=where) from error
    # Only the given keys are taken from the parser: it would share its mutable defaults between recipes.
    try:
        return Recipe(**{key: typed.as_dict()[key] for key in values})
    except RecipeError as error:
        raise RecipeError(expected=error.expected, found=error.found, where=f"{error.where} of {where}") from None
    except ValueError as error:
        raise RecipeError(str(error), where=where) from error


def recipe_names() -> list[str]:
    """Names of the recipes that come with glorext."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path="resnext50_imagenet", **overrides) -> Recipe:
    """Read a recipe and override some of its keys.

    Args:
        name_or_path: one of `recipe_names()`, or the path of a YAML file.
        overrides: keys of Recipe, published spellings allowed.

    Raises:
        RecipeError: no such recipe, an unknown key, a wrong type or an impossible value; names the key and the file.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            expected=f"one of {', '.join(recipe_names())}, or a YAML file",
            found=did_you_mean(name_or_path, recipe_names()),
            do="Check the name or the path.",
        ) from error
    values = _mapping(text, path)
    base = under_one_name(values, path)
    changed = under_one_name(overrides, "the arguments")
    if "input" in changed and isinstance(changed["input"], dict):
        if "size" in changed["input"] and "resize" in base.get("input", {}):
            changed["input"] = with_resize(changed["input"], make_recipe(base, path).input_spec())
        changed["input"] = {**base.get("input", {}), **changed["input"]}
    if isinstance(changed.get("epochs"), int) and {"T_max", "lr_epochs"} & base.keys():
        before = make_recipe(base, path)
        changed = {**scaled_epochs(before, changed["epochs"]), **changed}
    return make_recipe({**base, **changed}, path if not overrides else f"{path} and the arguments")


def _mapping(text: str, path) -> dict:
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(expected="YAML", found=" ".join(str(error).split()), where=path) from error
    if node is None or not isinstance(values, dict):
        raise RecipeError(expected="keys and values", found=type(values).__name__, where=path)
    keys = [key.value for key, _ in node.value]
    if len(keys) != len(set(keys)):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecipeError(expected="every key once", found=f"{twice} twice", where=path)
    return values
