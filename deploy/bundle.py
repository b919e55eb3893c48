"""One archive for the machine with the card: model, contract, golden inputs, C++ sources and a self-test without Python."""
from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path

from glorext.runtime import atomic_path, get_logger, set_device

from . import native
from .artifact import contract_path
from .convert import convert
from .export import GOLDEN_INPUT, GOLDEN_LOGITS, export
from .source import Source, add_source_arguments, chosen_source

logger = get_logger("deploy")
README = """{name}: offline inference with MindSpore Lite, without Python

  MINDSPORE_LITE_HOME=FOLDER ./selftest.sh ascend310     build, run the golden inputs, PASS or FAIL for each
  ./build/glorext_infer --model {model} --images PICTURES --device ascend310 --out results

FOLDER is MindSpore Lite's SDK for this machine, with CANN set up (source .../ascend-toolkit/set_env.sh), or the folder
mindspore_lite of the unpacked wheel. Needed besides: g++, cmake, make, libjpeg-dev, libpng-dev.

{model}       the model; {model}.json is its contract: digest, input, preprocessing, labels
golden_*.npy  inputs and the logits that MindSpore computed for them
cpp/          the sources of the programs

The self-test demands logits within 1e-4 of the largest expected one on the CPU and 2e-2 on a card in half precision,
and the same class. The limit for cards is not measured: no card was at hand when this was written.
"""


def _add(archive: tarfile.TarFile, name: str, data: bytes, executable: bool = False) -> None:
    # No times, users or modes of the machine that packs: the same package gives the same bytes.
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755 if executable else 0o644
    archive.addfile(entry, io.BytesIO(data))


def bundle(source: Source, out: Path, programs: native.Programs | None = None) -> Path:
    """Export and convert `source` and pack it with all that the self-test needs into `out`, a .tar.gz.

    The archive holds one folder named after the model. It appears whole or not at all.
    """
    out, name = Path(out), source.name
    with tempfile.TemporaryDirectory(prefix="glorext-bundle-") as scratch:
        folder = Path(scratch)
        exported, = export(source, folder, ["mindir"])
        model, = convert(folder / exported.file, folder, ["mindir"], programs)
        parts = {f"{name}/{part.name}": part.read_bytes() for part in
                 (folder / model.file, contract_path(folder / model.file), folder / GOLDEN_INPUT, folder / GOLDEN_LOGITS)}
    parts |= {f"{name}/cpp/{path.relative_to(native.sources())}": path.read_bytes()
              for path in native.sources().rglob("*") if path.is_file()}
    parts[f"{name}/selftest.sh"] = (files("glorext.deploy") / "scripts" / "selftest.sh").read_bytes()
    parts[f"{name}/MODEL"] = f"{model.file}\n".encode()
    parts[f"{name}/README.txt"] = README.format(name=name, model=model.file).encode()
    with atomic_path(out) as temporary:
        with gzip.GzipFile(temporary, "wb", compresslevel=1, mtime=0) as packed, \
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(parts):
                _add(archive, path, parts[path], path.endswith(".sh"))
    logger.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return out


def main(argv: list[str]) -> int:
    """`glorext bundle`."""
    from glorext.runtime.cli import parser
    arguments = parser("bundle", "Pack a model with its C++ program and a self-test for the machine with the card.",
                       "glorext bundle resnext50-digits resnext50-digits.tar.gz")
    add_source_arguments(arguments)
    arguments.add_argument("out", type=Path, help="the archive, .tar.gz")
    options = arguments.parse_args(argv)
    set_device("CPU")
    print(bundle(chosen_source(options), options.out))
    return 0
