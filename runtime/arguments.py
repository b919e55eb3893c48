"""How every command reads its flags: hyphens or underscores, and for one that does not exist the one that was meant."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn

from . import completion
from .errors import did_you_mean, nearest

# One thing under several names: what a command calls it comes first, then older and published spellings of it.
SAME = (("data", "data_dir", "data_path", "images"), ("device", "device_target", "platform"))
# What other programs call it, by the flags of ours that come nearest; a command has one of them, or none.
CALLED = {
    "arch": ("network",),
    "ckpt": ("from", "model", "package"),
    "bs": ("batch_size", "batch"),
    "batch": ("batch_size",),
    "batch_size": ("batch",),
    "checkpoint": ("from", "model", "package"),
    "classes": ("num_classes", "labels"),
    "config": ("recipe",),
    "dataset": ("data",),
    "dataset_path": ("data",),
    "device_num": ("devices",),
    "dir": ("out", "to"),
    "epoch": ("epochs",),
    "grad_accum_steps": ("micro_batch_size",),
    "gradient_accumulation_steps": ("micro_batch_size",),
    "gpu": ("device", "device_id"),
    "gpus": ("devices", "device"),
    "image": ("data",),
    "img_size": ("image_size",),
    "imgsz": ("image_size",),
    "input": ("data",),
    "learning_rate": ("lr",),
    "model": ("package", "from"),
    "name": ("out",),
    "num_workers": ("workers",),
    "output": ("out", "to"),
    "output_dir": ("out", "to"),
    "pictures": ("data",),
    "save_dir": ("out",),
    "source": ("data",),
    "train_dir": ("data",),
    "validation_dir": ("val_dir",),
    "weights": ("from", "model", "package"),
    "wd": ("weight_decay",),
}


def spelled(words: Sequence[str], known: Collection[str]) -> list[str]:
    """`words` with every flag as `known` spells it: --val-dir is --val_dir, and --data_dir is --data."""
    spelling = _with_other_names({_plain(flag): flag for flag in known})
    found: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if name.startswith("--") and name not in known and "--" not in found:
            name = spelling.get(_plain(name), name)
        found.append(name + equals + value)
    return found


def meant(flag: str, known: Collection[str]) -> str | None:
    """What of `known` whoever wrote `flag` most likely meant; None where nothing comes near."""
    plain = _with_other_names({_plain(name): name for name in known if not re.fullmatch("-.", name)})
    for name in CALLED.get(_plain(flag), ()):
        if name in plain:
            return plain[name]
    near = nearest(_plain(flag), plain)
    return plain[near] if near else None


def unknown_flag(words: Sequence[str], known: Collection[str], until: Collection[str] = ("--",)) -> str | None:
    """A sentence on the first flag in `words` that a command does not have; None where it has all of them.

    Args:
        until: the words from which on the flags are another program's.
    """
    for word in words:
        flag = word.partition("=")[0]
        if word in until:
            break
        if flag.startswith("--") and flag not in known:
            near = meant(flag, known)
            if near and not near.startswith("-"):
                return f"there is no flag {flag}: {near.upper()} is written without a flag."
            return f"there is no flag {flag}" + (f": did you mean {near}?" if near else ".")
    return None


def _with_other_names(spelling: dict[str, str]) -> dict[str, str]:
    for names in SAME:
        here = [spelling[name] for name in names if name in spelling]
        spelling = {name: here[0] for name in names if here} | spelling
    return spelling


def _plain(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_").lower()


class Parser(argparse.ArgumentParser):
    """argparse's parser, with `spelled` before it and `meant` after it; wrong usage is one line and status 2."""

    _words: Sequence[str] = ()
    _completes = True

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's; flags may be spelled either way."""
        if self._completes and completion.asked():
            self._completes = False  # argcomplete has this very parser read the words so far
            completion.complete(self)
        words = spelled(sys.argv[1:] if args is None else args, self._option_string_actions)
        self._words = words
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """End the program with status 2 and a line that names the flag that was meant, where one does not exist."""
        positional = [str(action.metavar or action.dest) for action in self._actions if not action.option_strings]
        known = [*self._option_string_actions, *positional]
        message = unknown_flag(self._words, known, ("--", *self._programs())) or message
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            near = did_you_mean(choice[1], re.findall(r"[^\s,']+", choice[2]))
            message = message.replace(f"'{choice[1]}'", near, 1)
        message = message if message.endswith((".", "?")) else f"{message}."
        self.exit(2, f"{self.prog}: UsageError: {message} `{self.prog} --help` lists the flags.\n")

    def _programs(self) -> Collection[str]:
        """The words from which on the flags are another program's."""
        for before, action in itertools.pairwise(self._actions):
            if action.nargs == argparse.REMAINDER:
                return tuple(before.choices or ())
        return ()
