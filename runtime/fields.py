"""The typed reader of JSON that came from a file or a server: every complaint names the path to the bad field."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from .errors import DataError, GlorextError
from .files import parse_json

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

    Args:
        value: what was read.
        where: path of the object, such as "manifest.json: files".
        error: class of the error to raise.
        do: what the user can do about a bad field.
    """

    def __init__(self, value: Any, where: str, error: type[GlorextError] = DataError, do: str | None = None):
        self.where, self.error, self.do = str(where), error, do
        if not isinstance(value, dict):
            raise self.wrong("an object", kind_of(value))
        self._left = dict(value)

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
        where = self.where if key is None else f"{self.where}{'.' if ': ' in self.where else ': '}{key}"
        return self.error(expected=expected, found=found, where=where, do=self.do)

    def take(self, key: str, kind: type, optional: bool = False) -> Any:
        """The value of `key`, of the type `kind`; None where it is null or missing and `optional`."""
        if key not in self._left:
            if optional:
                return None
            raise self.wrong(f"the key {key!r}", "none")
        value = self._left.pop(key)
        if value is None and optional:
            return None
        # bool is an int to Python; 1.0 is no picture count
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise self.wrong(NAMES.get(kind, kind.__name__), kind_of(value), key)
        if type(value) is int and abs(value) > LARGEST:
            raise self.wrong(f"a number up to {LARGEST:,}", shown(value), key)
        if kind is float:
            if not math.isfinite(value):
                raise self.wrong("a finite number", str(value), key)
            return float(value)
        if kind is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.wrong("text", f"half of a surrogate pair in {shown(value)}", key)
        return value

    def file_name(self, key: str) -> str:
        """The path under `key`; bytes of it that are not UTF-8 stand as Python's surrogateescape has them."""
        value = self._left.get(key)
        if isinstance(value, str):
            self._left[key] = re.sub("[\udc80-\udcff]", "?", value)
        self.take(key, str)
        return str(value)

    def count(self, key: str, least: int = 0, most: int = LARGEST, optional: bool = False) -> Any:
        """The whole number under `key`, from `least` to `most`."""
        value = self.take(key, int, optional)
        if value is not None and not least <= value <= most:
            raise self.wrong(f"a whole number from {least:,} to {most:,}", f"{value:,}", key)
        return value

    def fraction(self, key: str, optional: bool = False) -> float | None:
        """The number from 0 to 1 under `key`."""
        value = self.take(key, float, optional)
        if value is not None and not 0 <= value <= 1:
            raise self.wrong("a number from 0 to 1", value, key)
        return value

    def matching(self, key: str, pattern: re.Pattern, what: str, optional: bool = False) -> Any:
        """The string under `key`, which must match `pattern` as a whole."""
        value = self.take(key, str, optional)
        if value is not None and (len(value) > 200 or not pattern.fullmatch(value)):
            raise self.wrong(what, shown(value), key)
        return value

    def digest(self, key: str, optional: bool = False) -> Any:
        """The SHA-256 under `key`, 64 hex digits."""
        return self.matching(key, SHA256, "64 hex digits", optional)

    def one_of(self, key: str, *allowed: str) -> str:
        """The string under `key`, which must be one of `allowed`."""
        value = self.take(key, str)
        if value not in allowed:
            raise self.wrong(" or ".join(map(repr, allowed)), shown(value), key)
        return value

    def inner(self, key: str, optional: bool = False) -> Any:
        """The object under `key` as Fields."""
        value = self.take(key, dict, optional)
        return None if value is None else self._inner(value, key)

    def inners(self, key: str) -> list[Fields]:
        """The list of objects under `key`, each as Fields."""
        return [self._inner(value, f"{key}[{number}]") for number, value in enumerate(self.take(key, list))]

    def _inner(self, value: Any, key: str) -> Fields:
        return Fields(value, str(self.wrong("", "", key).where), self.error, self.do)

    def values(self, key: str, kind: type) -> tuple:
        """The list under `key`, every value of the type `kind`."""
        values = self.take(key, list)
        each = self._inner({str(number): value for number, value in enumerate(values)}, key)
        return tuple(each.take(str(number), kind) for number in range(len(values)))

    def strings(self, key: str) -> dict[str, str]:
        """The object under `key`, whose values are all strings, such as versions."""
        fields = self.inner(key)
        return {name: fields.take(name, str) for name in list(fields._left)}

    def names(self, pattern: re.Pattern, what: str) -> list[str]:
        """The keys that nobody took yet, in the file's order; each must match `pattern` as a whole."""
        for key in self._left:
            if len(key) > 64 or not pattern.fullmatch(key):
                raise self.wrong(what, shown(key))
        return list(self._left)

    def rest(self) -> dict[str, Any]:
        """Everything that nobody took yet, as it was read; it counts as taken."""
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        """Refuse keys that nobody took."""
        if self._left:
            raise self.wrong("no other keys", ", ".join(shown(key) for key in sorted(self._left))[:300])
