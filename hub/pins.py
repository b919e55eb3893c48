"""What a name asks for: "NAME", "NAME@1.0.0", "NAME@1", "NAME@latest", "NAME@sha256:...", or what a lock file says."""

from __future__ import annotations

import os
import re
import shlex

from glorext.runtime import UsageError, env
from glorext.runtime.fields import Fields

from .manifest import NAME, NUMBER, VERSION, VERSION_FORM, is_prerelease

UID = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+){2,3}")
PIN = re.compile(rf"sha256:[0-9a-f]{{64}}|{NUMBER}(?:\.{NUMBER})?|{VERSION.pattern}")
DIGEST = "sha256:"
SCHEMA = "glorext.lock/1"


def parse_name(name) -> tuple[str, str | None]:
    """Name and pin (None: the newest) of "resnext50", "resnext50@1.0.0" or a UID; else a UsageError."""
    text = os.fspath(name)
    if len(text) <= 200 and ".." not in text and UID.fullmatch(text):
        return text, None
    head, at, pin = text.partition("@")
    if pin == "latest":
        return parse_name(head)
    if len(text) > 200 or not NAME.fullmatch(head) or (at and not PIN.fullmatch(pin)):
        raise UsageError(
            expected='a name such as "resnext50", "resnext50@1.0.0", "resnext50@1", "resnext50@sha256:" and 64 hex '
            'digits, or "mindspore/1.10/resnext50_imagenet2012"',
            found=repr(text[:200]),
        )
    return head, pin or None


def is_digest(pin: str | None) -> bool:
    """Whether a pin names the very bytes, so that no registry can give another model."""
    return pin is not None and pin.startswith(DIGEST)


def is_exact(pin: str | None) -> bool:
    """Whether a pin leaves no choice: a whole version or a digest."""
    return pin is not None and (is_digest(pin) or bool(VERSION.fullmatch(pin)))


def fits(pin: str | None, version: str, sha256: str | None) -> bool:
    """Whether a version, whose manifest (for what is built in: whose file) has the digest `sha256`, is asked for."""
    if pin is None:
        return True
    if is_digest(pin):
        return sha256 == pin.removeprefix(DIGEST)
    return version == pin if is_exact(pin) else f"{version}.".startswith(f"{pin}.")


def may_give(pin: str | None, version: str, yanked: str | None = None) -> bool:
    """Whether a version that fits a pin may be chosen for it: what is yanked or a pre-release must be asked for."""
    return is_exact(pin) or (yanked is None and not is_prerelease(version))


def read_lock(path) -> dict[str, tuple[str, str | None]]:
    """Name -> version and manifest digest (None for what is built in) of a lock file; DataError names a bad key."""
    top = Fields.read(path, SCHEMA, do="`glorext lock NAME` writes it.")
    models = top.inner("models")
    top.done()
    locked = {}
    for name in models.names(NAME, "package names of at most 64 characters"):
        entry = models.inner(name)
        locked[name] = (
            entry.matching("version", VERSION, VERSION_FORM),
            entry.digest("manifest_sha256", optional=True),
        )
        entry.done()
    return locked


def locked(name: str, pin: str | None) -> str | None:
    """The pin of `name` in the lock file that GLOREXT_LOCK names; `pin` itself where it names none.

    Raises:
        UsageError: the name is not in the file, or there as something else than `pin` asks for.
        DataError: the file is not there or not one.
    """
    path = env.lock_file()
    if path is None:
        return pin
    models = read_lock(path)
    if name not in models:
        raise UsageError(
            expected=f"{name} in the lock file",
            found=", ".join(models) or "nothing",
            where=path,
            do=f"`glorext lock {name} --out {shlex.quote(str(path))}` adds it; unset GLOREXT_LOCK to load without it.",
        )
    version, sha256 = models[name]
    if not fits(pin, version, sha256):
        raise UsageError(
            expected=f"{name}@{version}, as the lock file says",
            found=f"{name}@{pin}",
            where=path,
            do=f"`glorext lock {name}@{pin} --out {shlex.quote(str(path))}` changes it.",
        )
    return f"{DIGEST}{sha256}" if sha256 else version
