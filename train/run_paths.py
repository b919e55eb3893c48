"""paths.json: what a run took from this machine, so that its folder alone is enough to go on; packages leave it out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from glorext.hub.manifest import NAME
from glorext.models.trained import Identity
from glorext.runtime.fields import Fields
from glorext.runtime.files import write_json

PATHS, SCHEMA = "paths.json", "glorext.paths/1"


@dataclass(frozen=True)
class RunPaths:
    """Where a run's pictures are, what computes, and what it started from.

    Attributes:
        data_dir, val_dir: folders of pictures, absolute; `val_dir` is None without validation pictures.
        device: "CPU", "GPU" or "Ascend".
        pretrained: path or name of the model it started from; None for random weights.
        started_from: which model that was. It is not opened again, so it may be gone.
    """

    data_dir: str
    val_dir: str | None
    device: str
    pretrained: str | None = None
    started_from: Identity | None = None

    @classmethod
    def of(cls, data_dir, val_dir, device: str) -> RunPaths:
        """Those of a new run, before it is known what it starts from."""
        return cls(os.path.abspath(data_dir), os.path.abspath(val_dir) if val_dir else None, device)

    def write(self, folder) -> None:
        """Write them into a run's folder."""
        values = {key: value or "" for key, value in vars(self).items() if key != "started_from"}
        source = None if self.started_from is None else self.started_from.to_dict()
        write_json(Path(folder) / PATHS, {"schema": SCHEMA, **values, "started_from": source})


def read_paths(folder) -> RunPaths | None:
    """What `RunPaths.write` wrote; None where the file is gone.

    Raises:
        DataError: the file is damaged.
    """
    path = Path(folder) / PATHS
    if not path.is_file():
        return None
    found = Fields.read(path, SCHEMA, do="Remove it, and name the pictures with --data and --val_dir.")
    source = found.inner("started_from", optional=True)
    read = RunPaths(
        data_dir=found.file_name("data_dir"),
        val_dir=found.file_name("val_dir") or None,
        device=found.one_of("device", "CPU", "GPU", "Ascend"),
        pretrained=found.file_name("pretrained") or None,
        started_from=None if source is None else Identity.read(source),
    )
    found.done()
    return read


def resolved(what: str | None) -> str | None:
    """A path, which may be gone, as an absolute one; a published name as it is."""
    if what and (Path(what).expanduser().exists() or not NAME.fullmatch(what.partition("@")[0])):
        return os.path.abspath(Path(what).expanduser())
    return what
