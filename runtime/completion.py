"""Completion in the shell, through argcomplete: commands, their flags, choices, files."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from .errors import SetupError

# Set by the function that `register-python-argcomplete glorext` defines in the shell, with the words so far.
ASKED, WORDS = "_ARGCOMPLETE", "COMP_LINE"


def asked() -> bool:
    """Whether the shell asks what the words so far can become, instead of running them."""
    return ASKED in os.environ and WORDS in os.environ


def command_being_written(commands: Collection[str]) -> Sequence[str]:
    """The command whose flags are to be completed, and what follows it; empty while its name is being written.

    Ends the process with the names that fit, where it is the name that is asked for.
    """
    import argparse

    argcomplete = _argcomplete()
    line = os.environ[WORDS][: int(os.environ.get("COMP_POINT", len(os.environ[WORDS])))]
    _, _, _, words, _ = argcomplete.split_line(line)
    if len(words) > 1 and words[1] in commands:
        os.environ[ASKED] = "2"  # the words before that one are not the command's own
        return words[1:]
    names = argparse.ArgumentParser(allow_abbrev=False)
    names.add_argument("command", choices=list(commands))
    names.add_argument("--version", action="store_true")
    argcomplete.autocomplete(names)
    return ()


def complete(parser) -> None:
    """End the process with what the last word can become by `parser`."""
    _argcomplete().autocomplete(parser)


def _argcomplete():
    try:
        import argcomplete
    except ImportError:
        raise SetupError(
            expected="argcomplete, which completes words in the shell",
            found="none",
            do="Run: pip install 'glorext[completion]'",
        ) from None
    return argcomplete
