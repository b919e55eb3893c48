"""Named errors: each says what was expected, what was found, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """`text` with every character that could steer a terminal or cannot be encoded as its escape; lines stay lines.

    What follows a line break is set in, so that nobody's text passes for a line of the program's own.
    """
    # str.isprintable knows control characters, marks of writing direction and halves of surrogate pairs
    shown = "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
    return shown.replace("\n", "\n    ")


def nearest(word: str, known: Iterable[str], likeness: float = 0.7) -> str | None:
    """The one of `known` that is most like `word`, in any case; None where none is as like as that, from 0 to 1."""
    spelling = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), spelling, 1, likeness)
    return spelling[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`word` quoted, with the one of `known` that it most likely means in brackets, where one comes near."""
    near = nearest(str(word), known)
    return f"{str(word)!r} (did you mean {near}?)" if near else repr(str(word))


class GlorextError(Exception):
    """Root of all errors that glorext raises on purpose.

    Args:
        message: one sentence, when the four parts below do not fit the case.
        expected: what should have been there.
        found: what was there instead.
        where: the file, folder, key or URL.
        do: what the user can do about it.
    """

    exit_status = 1

    def __init__(self, message: str | None = None, *, expected=None, found=None, where=None, do: str | None = None):
        self.expected, self.found, self.where, self.do = expected, found, where, do
        parts = [message] if message else []
        if expected is not None:
            parts.append(f"expected {expected}" + (f", found {found}" if found is not None else ""))
        elif found is not None:
            parts.append(f"found {found}")
        text = "; ".join(parts)
        if where is not None:
            text += f" in {where}"
        self.problem = text  # without what to do about it
        if do:
            end = "" if text.endswith(("?", "!")) else "."
            text = f"{text.rstrip('.')}{end} {do[0].upper()}{do[1:]}"
        # much of it comes from files and servers
        super().__init__(printable(text if text.endswith((".", "?", "!")) else text + "."))


class UsageError(GlorextError):
    """The call itself cannot be carried out as it stands: wrong arguments or an impossible combination."""

    exit_status = 2


class RecipeError(UsageError):
    """A recipe holds an unknown key, a value of the wrong type or an impossible value."""


class SetupError(GlorextError):
    """Something outside the project is missing: a compiler, a library, the network."""


class DeviceError(GlorextError):
    """The wanted device is not there. Never answered by quietly taking another one."""


class DataError(GlorextError):
    """A data set, picture, label list or data file is not what it should be."""


class CheckpointError(GlorextError):
    """A checkpoint is cut off, unreadable, or belongs to another network."""


class PackageError(GlorextError):
    """A model package is incomplete or contradicts its manifest."""


class RegistryError(GlorextError):
    """A registry cannot be read or written, or would be damaged by the request."""


class NotFoundError(RegistryError):
    """No registry that was searched has the wanted name or version."""


class IntegrityError(GlorextError):
    """The bytes of a file are not the ones that were promised."""


class DownloadError(GlorextError):
    """A file could not be fetched."""


class MissingFileError(DownloadError):
    """A file that an index or a manifest lists is not there (yet)."""


class DiskFullError(GlorextError):
    """There is not enough room for a file that is about to be written."""


class ExportError(GlorextError):
    """A network could not be written in the wanted format."""


class ConversionError(GlorextError):
    """The converter failed, or what it wrote does not compute what its source computes."""


class InferenceError(GlorextError):
    """Offline inference failed or gave an unusable result."""


class AccuracyError(GlorextError):
    """A measured accuracy misses its reference, or cannot be compared with it."""
