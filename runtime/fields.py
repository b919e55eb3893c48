"""The typed reader of JSON that came from a file or a server: every complaint names the path to the bad field."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from .errors import DataError, GlorextError
from .files import parse_json

T = TypeVar("T")
SHA256 = re.compile(r"[0-9a-f]{64}")
# Every reader, in Python and in C++, holds whole numbers up to here exactly.
LARGEST = (1 << 53) - 1
NAMES = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return NAMES.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """A value for a message, however long it is."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        return "a number of more than 15 digits"
    return ascii(value)[:200]


class Fields:
    """Takes typed values out of a JSON object, each key once; `done` refuses what nobody took.

    Whatever is taken can be held and written by every reader: whole numbers up to 2**53 - 1, finite numbers, text
    without half of a surrogate pair. A key that may be null must be there all the same (`key in fields` asks first).

    Args:
        value: what was read.
        where: path of the object, such as "manifest.json" or "manifest.json: files".
        error: class of the error to raise.
        do: what the user can do about a bad field.
    """

    def __init__(self, value: Any, where, error: type[GlorextError] = DataError, do: str | None = None):
        self.where, self.error, self.do = str(where), error, do
        self._joint = ": "  # between `where` and a key
        if not isinstance(value, dict):
            raise self.wrong("an object", kind_of(value))
        self._left = dict(value)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    @classmethod
    def parse(
        cls, data: bytes, where, schema: str | None = None, error: type[GlorextError] = DataError, do: str | None = None
    ) -> Fields:
        """The object in the bytes of a file, whose key "schema" must be `schema`."""
        try:
            value = parse_json(data, str(where))
        except DataError as cause:
            raise error(expected=cause.expected, found=cause.found, where=where, do=do or cause.do) from cause
        fields = cls(value, where, error, do)
        if schema is not None:
            fields.one_of("schema", schema)
        return fields

    @classmethod
    def read(
        cls, path, schema: str | None = None, error: type[GlorextError] = DataError, do: str | None = None
    ) -> Fields:
        """The object in a file (see `parse`)."""
        try:
            data = Path(path).read_bytes()
        except OSError as cause:
            raise error(expected="a JSON file", found=cause.strerror, where=path, do=do) from cause
        return cls.parse(data, path, schema, error, do)

    def wrong(self, expected: str, found: object, key: str | None = None) -> GlorextError:
        """The error to raise for the object, or for one of its keys."""
        where = self.where if key is None else self._place(key)
        return self.error(expected=expected, found=found, where=where, do=self.do)

    def _place(self, key: str) -> str:
        # a stranger's key may hold anything
        return f"{self.where}{self._joint}{key if key.isprintable() and len(key) <= 200 else shown(key)}"

    def _pop(self, key: str) -> Any:
        if key not in self._left:
            raise self.wrong(f"the key {shown(key)}", "none")
        return self._left.pop(key)

    def _typed(self, value: Any, kind: type[Any], key: str) -> Any:
        """The value, which must be of the type `kind`; what a list or an object holds is not looked at."""
        # bool is an int to Python; 1.0 is no picture count
        if type(value) is not kind and not (kind is float and type(value) is int):
            found = shown(value) if type(value) is float else kind_of(value)
            raise self.wrong(NAMES.get(kind, kind.__name__), found, key)
        if type(value) is int and abs(value) > LARGEST:
            raise self.wrong(f"a number up to {LARGEST:,}", shown(value), key)
        if type(value) is float and not math.isfinite(value):
            raise self.wrong("a finite number", str(value), key)
        if type(value) is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.wrong("text", f"half of a surrogate pair in {shown(value)}", key)
        taken: Any = value
        return float(taken) if kind is float else taken

    def _plain(self, value: Any, key: str) -> Any:
        """The value, after everything in it was looked at."""
        if isinstance(value, dict):
            for name, item in value.items():
                self._plain(item, f"{key}.{self._typed(name, str, key)}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self._plain(item, f"{key}[{number}]")
        else:
            self._typed(value, type(value), key)
        return value

    @overload
    def take(self, key: str, kind: type[T], optional: Literal[False] = False) -> T: ...
    @overload
    def take(self, key: str, kind: type[T], optional: bool) -> T | None: ...
    def take(self, key, kind, optional=False):
        """The value of `key`, of the type `kind`; None where it is null and `optional`."""
        value = self._pop(key)
        return None if value is None and optional else self._plain(self._typed(value, kind, key), key)

    def file_name(self, key: str) -> str:
        """The path under `key`; bytes of it that are not UTF-8 stand as Python's surrogateescape has them."""
        value = self._pop(key)
        self._typed(re.sub("[\udc80-\udcff]", "?", value) if isinstance(value, str) else value, str, key)
        return value

    @overload
    def count(self, key: str, least: int = 0, most: int = LARGEST, optional: Literal[False] = False) -> int: ...
    @overload
    def count(self, key: str, least: int = 0, most: int = LARGEST, *, optional: bool) -> int | None: ...
    def count(self, key, least=0, most=LARGEST, optional=False):
        """The whole number under `key`, from `least` to `most`."""
        value = self.take(key, int, optional)
        if value is not None and not least <= value <= most:
            raise self.wrong(f"a whole number from {least:,} to {most:,}", f"{value:,}", key)
        return value

    @overload
    def fraction(self, key: str, optional: Literal[False] = False) -> float: ...
    @overload
    def fraction(self, key: str, optional: bool) -> float | None: ...
    def fraction(self, key, optional=False):
        """The number from 0 to 1 under `key`."""
        value = self.take(key, float, optional)
        if value is not None and not 0 <= value <= 1:
            raise self.wrong("a number from 0 to 1", value, key)
        return value

    @overload
    def matching(self, key: str, pattern: re.Pattern, what: str, optional: Literal[False] = False) -> str: ...
    @overload
    def matching(self, key: str, pattern: re.Pattern, what: str, optional: bool) -> str | None: ...
    def matching(self, key, pattern, what, optional=False):
        """The string under `key`, which must match `pattern` as a whole."""
        value = self.take(key, str, optional)
        if value is not None and (len(value) > 200 or not pattern.fullmatch(value)):
            raise self.wrong(what, shown(value), key)
        return value

    @overload
    def digest(self, key: str, optional: Literal[False] = False) -> str: ...
    @overload
    def digest(self, key: str, optional: bool) -> str | None: ...
    def digest(self, key, optional=False):
        """The SHA-256 under `key`, 64 hex digits."""
        return self.matching(key, SHA256, "64 hex digits", optional)

    def one_of(self, key: str, *allowed: str) -> str:
        """The string under `key`, which must be one of `allowed`."""
        value = self.take(key, str)
        if value not in allowed:
            raise self.wrong(" or ".join(map(repr, allowed)), shown(value), key)
        return value

    @overload
    def inner(self, key: str, optional: Literal[False] = False) -> Fields: ...
    @overload
    def inner(self, key: str, optional: bool) -> Fields | None: ...
    def inner(self, key, optional=False):
        """The object under `key` as Fields; None where it is null and `optional`."""
        value = self._pop(key)
        return None if value is None and optional else self._inner(self._typed(value, dict, key), key)

    @overload
    def inners(self, key: str, optional: Literal[False] = False) -> list[Fields]: ...
    @overload
    def inners(self, key: str, optional: bool) -> list[Fields] | None: ...
    def inners(self, key, optional=False):
        """The list of objects under `key`, each as Fields; None where it is null and `optional`."""
        value = self._pop(key)
        if value is None and optional:
            return None
        values = self._typed(value, list, key)
        return [self._inner(value, f"{key}[{number}]") for number, value in enumerate(values)]

    def _inner(self, value: Any, key: str) -> Fields:
        inner = Fields(value, self._place(key), self.error, self.do)
        inner._joint = "."
        return inner

    def values(self, key: str, kind: type[T]) -> tuple[T, ...]:
        """The list under `key`, every value of the type `kind`."""
        values = self._typed(self._pop(key), list, key)
        return tuple(
            self._plain(self._typed(value, kind, f"{key}[{number}]"), f"{key}[{number}]")
            for number, value in enumerate(values)
        )

    def strings(self, key: str) -> dict[str, str]:
        """The object under `key`, whose values are all strings, such as versions."""
        fields = self.inner(key)
        return {fields._typed(name, str, "a key"): fields.take(name, str) for name in list(fields._left)}

    def names(self, pattern: re.Pattern, what: str) -> list[str]:
        """The keys that nobody took yet, in the file's order; each must match `pattern` as a whole."""
        for key in self._left:
            if len(key) > 64 or not pattern.fullmatch(key):
                raise self.wrong(what, shown(key))
        return list(self._left)

    def rest(self) -> dict[str, Any]:
        """Everything that nobody took yet, as it was read; it counts as taken."""
        return {key: self.take(key, type(self._left[key])) for key in list(self._left)}

    def done(self) -> None:
        """Refuse keys that nobody took."""
        if self._left:
            raise self.wrong("no other keys", ", ".join(shown(key) for key in sorted(self._left))[:300])
