"""Whether a MindSpore Lite reads MINDIR as the MindSpore of this machine writes it: it is asked once, by a tiny model.

No version tells: what a release reads is not documented, and a MindSpore Lite built by hand may call itself anything.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact
from glorext.deploy.convert.run_converter import run_converter
from glorext.deploy.export import mindir
from glorext.deploy.runners.find_lite import Lite
from glorext.deploy.runners.programs import Programs
from glorext.runtime import ConversionError, env, get_logger, mindspore_versions, read_json, set_device, write_json

logger = get_logger("deploy")
CONVERTERS = ("lib/libmindspore_converter.so*", "tools/converter/lib/libmindspore_converter.so*")


def _memory(lite: Lite) -> Path:
    """Where the answer stands for this converter, told by its files, and for this MindSpore."""
    files = sorted(path for pattern in CONVERTERS for path in lite.root.glob(pattern))
    digest = hashlib.sha256(str(mindspore_versions.installed()).encode())
    for path in [*files, *filter(None, [lite.converter])]:
        state = path.stat()
        digest.update(f"{path}\n{state.st_size}\n{state.st_mtime_ns}\n".encode())
    return env.cache_dir() / "mindspore_lite" / "mindir" / f"{digest.hexdigest()[:16]}.json"


def remembered(lite: Lite) -> bool | None:
    """What this MindSpore Lite answered before; None if it was never asked."""
    file = _memory(lite)
    return bool(read_json(file)["reads"]) if file.is_file() else None


def write_probe(path: Path) -> None:
    """Write a convolution, a normalization and an activation as the MINDIR of the MindSpore at hand."""
    set_device("CPU")
    import mindspore as ms
    from mindspore import nn

    # Constant weights: the random numbers of this process are not ours.
    layers = nn.Conv2d(3, 4, 1, pad_mode="valid", weight_init="ones"), nn.BatchNorm2d(4), nn.ReLU()
    picture = ms.Tensor(np.zeros((1, 3, 4, 4), np.float32))
    ms.export(nn.SequentialCell(*layers).set_train(False), picture, file_name=str(path), file_format="MINDIR")


def reads_mindir(source: Artifact, programs: Programs) -> bool:
    """Whether the MindSpore Lite of `programs` reads a MINDIR such as `source` as it was written.

    If not, it reads the rewritten one: this was tried as well, so that a converter that cannot work at all is not taken
    for one that refuses a version.

    Raises:
        ConversionError: it converts neither; nothing is remembered.
    """
    known = remembered(programs.lite)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory(prefix="glorext-probe-") as scratch:
        probe, old = Path(scratch) / "probe.mindir", Path(scratch) / "old.mindir"
        write_probe(probe)
        said = ""
        try:
            run_converter(probe, Path(scratch) / "as_it_is", "ms", source, programs)
        except ConversionError as error:
            said = str(error)
            mindir.rewrite(probe, old)
            run_converter(old, Path(scratch) / "rewritten", "ms", source, programs)
    names = f"MindSpore Lite {programs.lite.version}", f"MindSpore {mindspore_versions.installed()}"
    values = {"mindspore_lite": names[0], "mindspore": names[1], "reads": not said, "said": said}
    file = _memory(programs.lite)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, values)
    if said:
        logger.info("%s does not read MINDIR as %s writes it, and gets it rewritten", *names)
    return not said
