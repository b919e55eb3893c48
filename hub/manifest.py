"""The manifest of a model package: what it holds, to the byte, and how its network is made.

A manifest is read as hostile input. Whatever is not exactly of the form below is a PackageError that names the field.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from glorext.models.arguments import check_arguments, least_bytes
from glorext.models.input_spec import InputSpec
from glorext.models.specs import names, spec
from glorext.runtime import DataError, GlorextError, PackageError, UsageError, json_bytes, parse_json, sha256_bytes

SCHEMA = "glorext.package/1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 10_000
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


def check_name(name: str) -> str:
    """`name` when it can name a package: lower case letters, digits and single . _ - between them; else UsageError."""
    if not isinstance(name, str) or len(name) > 64 or not NAME.fullmatch(name):
        raise UsageError(
            expected="a package name of lower case letters and digits, with single . _ or - between them",
            found=repr(name),
        )
    return name


def check_version(version: str) -> str:
    """`version` when it is MAJOR.MINOR.PATCH in plain numbers; else UsageError."""
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise UsageError(expected="a version of the form 1.0.0", found=repr(version))
    return version


def version_key(version: str) -> tuple[int, ...]:
    """What versions are ordered by."""
    return tuple(int(part) for part in version.split("."))


class Fields:
    """Takes typed values out of a JSON object; every complaint carries the path to the field.

    Args:
        value: what was read.
        where: path of the object, such as "manifest.json: files".
        error: class of the error to raise.
    """

    def __init__(self, value, where: str, error: type[GlorextError] = PackageError):
        self.where, self.error = where, error
        if not isinstance(value, dict):
            raise error(expected="an object", found=_kind(value), where=where)
        self._left = dict(value)

    def take(self, key: str, kind, optional: bool = False):
        """The value of `key`, of the type `kind`; None where it is null or missing and `optional`."""
        place = f"{self.where}: {key}" if self.where.endswith(".json") else f"{self.where}.{key}"
        if key not in self._left:
            if optional:
                return None
            raise self.error(expected=f"the key {key!r}", found="none", where=self.where)
        value = self._left.pop(key)
        if value is None and optional:
            return None
        # bool is an int to Python; 1.0 is no picture count
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise self.error(expected=_NAMES.get(kind, kind.__name__), found=_kind(value), where=place)
        if kind is float and not math.isfinite(value):
            raise self.error(expected="a finite number", found=str(value), where=place)
        return value

    def matching(self, key: str, pattern: re.Pattern, what: str) -> str:
        """The string under `key`, which must match `pattern` as a whole."""
        value = self.take(key, str)
        if len(value) > 200 or not pattern.fullmatch(value):
            raise self.error(expected=what, found=repr(value[:200]), where=f"{self.where}: {key}")
        return value

    def done(self) -> None:
        """Complain about keys that nobody took."""
        if self._left:
            raise self.error(expected="no other keys", found=", ".join(map(repr, sorted(self._left))), where=self.where)


_NAMES = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def _kind(value) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def check_path(path: str, where: str, error: type[GlorextError] = PackageError) -> str:
    """`path` when it names a file inside a folder on every system: relative, plain ASCII, nothing hidden, no `..`."""
    bad = (
        not isinstance(path, str)
        or not path
        or len(path) > 200
        or "\\" in path
        or any(not PART.fullmatch(part) or part.endswith(".") for part in path.split("/"))
    )
    if bad:
        raise error(
            expected="a relative path inside the package, of plain ASCII names", found=repr(path)[:220], where=where
        )
    return path


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A package in one object; `manifest.json` is its JSON.

    `weights_sha256` is the digest of the tensors (see glorext.models.weights_digest), whatever file they stand in;
    `files` holds every file of the package but the manifest itself.
    """

    name: str
    version: str
    network: str
    network_args: dict
    num_classes: int
    input: InputSpec
    labels_sha256: str
    licence: str
    summary: str
    checkpoint: str
    weights_sha256: str
    card: str
    labels: str
    evidence: str | None
    commit: str | None
    versions: dict[str, str]
    files: dict[str, FileEntry] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def to_dict(self) -> dict:
        """The JSON form."""
        value = asdict(self)
        value["input"] = self.input.to_dict()
        return {"schema": SCHEMA, **value}

    def to_bytes(self) -> bytes:
        """The bytes of manifest.json, the same for equal manifests."""
        return json_bytes(self.to_dict())

    def digest(self) -> str:
        """SHA-256 of manifest.json, which stands for the whole package."""
        return sha256_bytes(self.to_bytes())


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """A manifest from the bytes of its file.

    Raises:
        PackageError: not JSON, an unknown, missing or wrongly typed key, a path that leaves the package, a reference
            to a file that is not listed, or not the bytes that `to_bytes` gives.
    """
    where = str(where)
    if len(data) > MAX_MANIFEST_BYTES:
        raise PackageError(expected=f"at most {MAX_MANIFEST_BYTES:,} bytes", found=f"{len(data):,}", where=where)
    try:
        top = Fields(parse_json(data, where), where)
    except DataError as error:
        raise PackageError(expected=error.expected, found=error.found, where=where) from error
    schema = top.take("schema", str)
    if schema != SCHEMA:
        raise PackageError(
            expected=f"schema {SCHEMA!r}",
            found=repr(schema[:80]),
            where=where,
            do="Use the version of glorext that wrote it.",
        )
    manifest = Manifest(
        name=top.matching("name", NAME, "a package name"),
        version=top.matching("version", VERSION, "a version of the form 1.0.0"),
        network=top.matching("network", NAME, "a network's name"),
        network_args=_network_args(top.take("network_args", dict), f"{where}: network_args"),
        num_classes=top.take("num_classes", int),
        input=_input_spec(top.take("input", dict), f"{where}: input"),
        labels_sha256=top.matching("labels_sha256", SHA256, "64 hex digits"),
        licence=top.take("licence", str),
        summary=top.take("summary", str),
        checkpoint=top.take("checkpoint", str),
        weights_sha256=top.matching("weights_sha256", SHA256, "64 hex digits"),
        card=top.take("card", str),
        labels=top.take("labels", str),
        evidence=top.take("evidence", str, optional=True),
        commit=top.take("commit", str, optional=True),
        versions=_versions(top.take("versions", dict), f"{where}: versions"),
        files=_files(top.take("files", dict), f"{where}: files"),
    )
    top.done()
    for key in ("checkpoint", "card", "labels", "evidence"):
        path = getattr(manifest, key)
        if path is not None and path not in manifest.files:
            raise PackageError(expected="a file that `files` lists", found=repr(path[:200]), where=f"{where}: {key}")
    _check_network(manifest, where)
    if manifest.to_bytes() != data:
        # one package, one digest
        raise PackageError(
            expected="sorted keys, two spaces and one newline, as `glorext pack` writes them",
            found="another way of writing the same",
            where=where,
        )
    return manifest


def _check_network(manifest: Manifest, where: str) -> None:
    """Whether the arguments can be, and make no larger a network than the checkpoint's bytes can fill."""
    if manifest.network not in names():
        raise PackageError(
            expected=f"a network out of {', '.join(names())}",
            found=repr(manifest.network),
            where=f"{where}: network",
            do="Use the version of glorext that wrote it.",
        )
    model = spec(manifest.network)
    arguments = {**manifest.network_args, "num_classes": manifest.num_classes}
    try:
        check_arguments(model, arguments)
    except UsageError as error:
        raise PackageError(expected=error.expected, found=error.found, where=f"{where}: network_args") from error
    least, size = least_bytes(model, arguments), manifest.files[manifest.checkpoint].size
    if least > size:
        raise PackageError(
            expected=f"a checkpoint of at least {least:,} bytes, as network_args and num_classes say",
            found=f"{size:,}",
            where=f"{where}: {manifest.checkpoint}",
        )


def _files(value: dict, where: str) -> dict[str, FileEntry]:
    if len(value) > MAX_FILES:
        raise PackageError(expected=f"at most {MAX_FILES:,} files", found=f"{len(value):,}", where=where)
    files, seen = {}, {MANIFEST: MANIFEST}
    for path, entry in value.items():
        check_path(path, where)
        # two names that are one file where the file system ignores case, or a file that is another's folder
        for prefix in [path, *map(str, PurePosixPath(path).parents)][:-1]:
            known = seen.setdefault(prefix.lower(), prefix)
            if known != prefix or (prefix != path and prefix in value) or path.lower() == MANIFEST:
                raise PackageError(expected="each file once", found=f"{path!r} beside {known!r}", where=where)
        fields = Fields(entry, f"{where}: {path}")
        size = fields.take("size", int)
        digest = fields.matching("sha256", SHA256, "64 hex digits")
        fields.done()
        if size < 0:
            raise PackageError(expected="a size in bytes", found=size, where=f"{where}: {path}")
        files[path] = FileEntry(size, digest)
    return files


def _network_args(value: dict, where: str) -> dict:
    def plain(item, place, depth=0):
        if type(item) in (str, int, bool, type(None)) or (type(item) is float and math.isfinite(item)):
            return item
        if type(item) is list and depth < 2:
            return [plain(part, place, depth + 1) for part in item]
        raise PackageError(expected="plain numbers, strings or lists of them", found=_kind(item), where=place)

    for key in value:
        if not key.isidentifier() or key.startswith("_") or key == "num_classes":
            raise PackageError(
                expected="names of constructor arguments (num_classes has its own key)",
                found=repr(key)[:100],
                where=where,
            )
    return {key: plain(item, f"{where}.{key}") for key, item in value.items()}


def _versions(value: dict, where: str) -> dict[str, str]:
    fields = Fields(value, where)
    return {key: fields.take(key, str) for key in value}


def _input_spec(value: dict, where: str) -> InputSpec:
    try:
        spec = InputSpec.from_dict(value)
    except (GlorextError, TypeError, ValueError, OverflowError) as error:
        raise PackageError(expected="an input spec", found=str(error), where=where) from error
    missing = set(spec.to_dict()) - set(value)
    if missing:
        raise PackageError(
            expected="every key of an input spec", found=f"none for {', '.join(sorted(missing))}", where=where
        )
    return spec


def read_manifest(folder) -> Manifest:
    """The manifest of the package in `folder` (see `parse_manifest`)."""
    path = Path(folder) / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise PackageError(
            expected=f"a package folder with {MANIFEST}",
            found="none" if not path.is_symlink() else "a symbolic link",
            where=folder,
            do="`glorext pack` makes packages.",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise PackageError(expected=f"at most {MAX_MANIFEST_BYTES:,} bytes", where=path)
    return parse_manifest(path.read_bytes(), str(path))
