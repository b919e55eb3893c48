"""Which registries are searched for a name: GLOREXT_REGISTRIES and --registry, read.

ADDRESS                 asked for every name that nothing binds; one that cannot be asked ends the search
NAMES=ADDRESS           what NAMES fits ("acme-*", or one whole name) comes from there only, and nothing else does
mirror:ADDRESS          a copy of one that is named later: passed over with a warning when it cannot be asked
mirror:NAMES=ADDRESS    both
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from glorext.runtime import UsageError, env

from .builtin import published_checkpoints
from .registry import Registry, open_registry

ENTRY = re.compile(r"(?P<mirror>mirror:)?(?:(?P<names>[a-z0-9][a-z0-9._-]*\*?|\*)=)?(?P<address>.*)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """One registry to search, and for which names."""

    registry: Registry
    mirror: bool = False
    names: str | None = None

    @property
    def location(self) -> str:
        """The registry's address, for messages."""
        return self.registry.location

    def binds(self, name: str) -> bool:
        """Whether `name` is one of those that come from here only."""
        if self.names is None:
            return False
        return name.startswith(self.names[:-1]) if self.names.endswith("*") else name == self.names


@dataclass(frozen=True)
class Sources:
    """The registries to search, in order, and whether the built-in one comes with them."""

    all: tuple[Source, ...]
    built_in: bool

    @classmethod
    def of(cls, registry=None) -> Sources:
        """Those that `registry` names (one, or several in order); for None GLOREXT_REGISTRIES and the built-in one."""
        if registry is None:
            return cls(tuple(map(parse_source, env.registries())), True)
        several = [registry] if isinstance(registry, (str, os.PathLike)) else registry
        return cls(tuple(map(parse_source, several)), False)

    def holding(self, name: str) -> tuple[tuple[Source, ...], bool]:
        """The registries that may give the package `name`, and whether the built-in one may.

        A built-in name is that of the built-in checkpoint, whatever a registry calls its own, unless it is bound.
        """
        bound = tuple(source for source in self.all if source.binds(name))
        if bound:
            return bound, False
        if self.built_in and any(entry.name == name for entry in published_checkpoints()):
            return (), True
        return tuple(source for source in self.all if source.names is None), self.built_in


def parse_source(entry) -> Source:
    """The Source that an entry of GLOREXT_REGISTRIES or a --registry names; a Path is an address as it stands."""
    if not isinstance(entry, str):
        return Source(open_registry(entry))
    found = ENTRY.fullmatch(entry)
    assert found  # every part may be absent
    if re.match(r"mirror:|[^/?]+=[A-Za-z]+:/", found["address"]):
        raise UsageError(
            expected="mirror:NAMES=ADDRESS, where NAMES is a package name in lower case or its beginning and *",
            found=repr(entry.partition("?")[0][:200]),
            where="a registry",
        )
    return Source(open_registry(found["address"]), bool(found["mirror"]), found["names"])
