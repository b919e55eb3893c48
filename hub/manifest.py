"""The manifest of a model package: what it holds, to the byte, and how its network is made.

A manifest is read as hostile input. Whatever is not exactly of the form below is a PackageError that names the field.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from glorext.models.arguments import least_bytes
from glorext.models.evaluation import EvalResult, parse_evaluation
from glorext.models.specs import spec
from glorext.models.trained import Identity, check_network
from glorext.runtime import GlorextError, PackageError, UsageError, json_bytes, sha256_bytes
from glorext.runtime.fields import Fields, shown

SCHEMA = "glorext.package/1"
MANIFEST = "manifest.json"
ARTIFACTS = "artifacts"  # folder of exported and converted models in a package
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 10_000
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
NUMBER = r"(?:0|[1-9][0-9]{0,8})"
# one part of a pre-release: a number, or small letters, digits and hyphens that are none
PRERELEASE = rf"(?:{NUMBER}|(?=[0-9-]*[a-z-])[0-9a-z-]{{1,20}})"
VERSION = re.compile(rf"{NUMBER}\.{NUMBER}\.{NUMBER}(?:-{PRERELEASE}(?:\.{PRERELEASE}){{0,3}})?")
VERSION_FORM = "a version of the form 1.0.0 or 1.0.0-rc.1"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def check_name(name: str) -> str:
    """`name` when it can name a package: lower case letters, digits and single . _ - between them; else UsageError."""
    if not isinstance(name, str) or len(name) > 64 or not NAME.fullmatch(name):
        raise UsageError(
            expected="a package name of lower case letters and digits, with single . _ or - between them",
            found=repr(name),
        )
    return name


def check_version(version: str) -> str:
    """`version` when it is MAJOR.MINOR.PATCH in plain numbers, or a pre-release of that; else UsageError."""
    if not isinstance(version, str) or len(version) > 64 or not VERSION.fullmatch(version):
        raise UsageError(expected=VERSION_FORM, found=repr(version)[:200])
    return version


def version_key(version: str) -> tuple:
    """What versions are ordered by: the precedence of Semantic Versioning 2.0, clause 11."""
    core, _, prerelease = version.partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in prerelease.split(".") if part]
    return tuple(int(part) for part in core.split(".")), not is_prerelease(version), parts


def is_prerelease(version: str) -> bool:
    """Whether a version comes before the release of its number: nobody gets it who did not ask for just that one."""
    return "-" in version


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
class Manifest(Identity):
    """A package in one object, and what its model is; `manifest.json` is its JSON.

    `files` holds every file of the package but the manifest itself.
    """

    version: str
    num_classes: int
    license: str
    summary: str
    checkpoint: str
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
        """The JSON form: the identity under "model", and what is the package's own."""
        identity = super().to_dict()
        own = {key: value for key, value in asdict(self).items() if key not in identity}
        return {"schema": SCHEMA, "model": identity, **own}

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
    if len(data) > MAX_MANIFEST_BYTES:
        raise PackageError(expected=f"at most {MAX_MANIFEST_BYTES:,} bytes", found=f"{len(data):,}", where=where)
    top = Fields.parse(data, where, SCHEMA, PackageError, "Use the version of glorext that wrote it.")
    model = top.inner("model")
    identity = Identity.read(model)
    _check_names(identity, model)
    manifest = Manifest(
        **vars(identity),
        summary=top.take("summary", str),
        checkpoint=top.take("checkpoint", str),
        card=top.take("card", str),
        labels=top.take("labels", str),
        evidence=top.take("evidence", str, optional=True),
        commit=top.take("commit", str, optional=True),
        versions=top.strings("versions"),
        files=_files(top.inner("files")),
    )
    top.done()
    for key in ("checkpoint", "card", "labels", "evidence"):
        path = getattr(manifest, key)
        if path is not None and path not in manifest.files:
            raise top.wrong("a file that `files` lists", repr(path[:200]), key)
    least, size = least_bytes(spec(identity.network), identity.arguments), manifest.files[manifest.checkpoint].size
    if least > size:
        raise PackageError(
            expected=f"a checkpoint of at least {least:,} bytes, as network_args and num_classes say",
            found=f"{size:,}",
            where=f"{where}: {manifest.checkpoint}",
        )
    if manifest.to_bytes() != data:
        # one package, one digest
        raise PackageError(
            expected="sorted keys, two spaces and one newline, as `glorext pack` writes them",
            found="another way of writing the same",
            where=where,
        )
    return manifest


def _check_names(identity: Identity, model: Fields) -> None:
    """What only a package demands of its model: a name and version to be loaded by, a license, a network to build."""
    for key, pattern, what in (("name", NAME, "a package name"), ("version", VERSION, VERSION_FORM)):
        value = getattr(identity, key)
        if value is None or len(value) > 64 or not pattern.fullmatch(value):
            raise model.wrong(what, shown(value), key)
    if identity.license is None:
        raise model.wrong("a string", "null", "license")
    if identity.num_classes is None:
        raise model.wrong("a whole number", "null", "num_classes")
    check_network(identity, model)


def _files(found: Fields) -> dict[str, FileEntry]:
    value = found.rest()
    if len(value) > MAX_FILES:
        raise found.wrong(f"at most {MAX_FILES:,} files", f"{len(value):,}")
    files, seen = {}, {MANIFEST: MANIFEST}
    for path, entry in value.items():
        check_path(path, found.where)
        # two names that are one file where the file system ignores case, or a file that is another's folder
        for prefix in [path, *map(str, PurePosixPath(path).parents)][:-1]:
            known = seen.setdefault(prefix.lower(), prefix)
            if known != prefix or (prefix != path and prefix in value) or path.lower() == MANIFEST:
                raise found.wrong("each file once", f"{path!r} beside {known!r}")
        fields = Fields(entry, f"{found.where}: {path}", PackageError, found.do)
        files[path] = FileEntry(fields.count("size"), fields.digest("sha256"))
        fields.done()
    return files


def read_manifest(folder) -> Manifest:
    """The manifest of the package in `folder` (see `parse_manifest`)."""
    path = Path(folder) / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise PackageError(
            expected=f"a package folder with {MANIFEST}",
            found="none" if not path.is_symlink() else "a symbolic link",
            where=folder,
            do="`glorext pack` makes packages; `glorext download NAME --to DIR` fetches one.",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise PackageError(expected=f"at most {MAX_MANIFEST_BYTES:,} bytes", where=path)
    return parse_manifest(path.read_bytes(), str(path))


def manifest_of(path: Path, name: str, version: str) -> Manifest:
    """The manifest in a file, which must be that of the package NAME@VERSION; else PackageError."""
    manifest = parse_manifest(path.read_bytes(), str(path))
    if (manifest.name, manifest.version) != (name, version):
        raise PackageError(
            expected=f"the package {name}@{version}", found=f"{manifest.name}@{manifest.version}", where=path
        )
    return manifest


def read_labels(path: Path, manifest: Manifest) -> tuple[str, ...]:
    """The labels of a package; their digest and number must be the manifest's, else a PackageError."""
    data = path.read_bytes()
    found = data.decode("utf-8", "replace").split("\n")
    if sha256_bytes(data) != manifest.labels_sha256 or len(found) != (manifest.num_classes or 0) + 1 or found.pop():
        raise PackageError(
            expected=f"{manifest.num_classes} labels, one a line, sha256 {manifest.labels_sha256}",
            found=f"sha256 {sha256_bytes(data)}",
            where=path,
        )
    return tuple(found)


def read_evidence(folder: Path, manifest: Manifest) -> EvalResult | None:
    """The evidence of a package, held against its manifest; None where it has none."""
    if manifest.evidence is None:
        return None
    path = Path(folder) / manifest.evidence
    evidence = parse_evaluation(path.read_bytes(), path, PackageError)
    manifest.check_evidence(evidence, path, PackageError)
    return evidence
