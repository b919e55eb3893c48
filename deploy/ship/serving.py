"""Writes the folders and configurations with which Triton and MindSpore Serving serve a model, from its contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.runtime import UsageError, atomic_dir
from glorext.runtime.cli import parser

LABELS, VERSION = "labels.txt", "1"
TRITON_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
LARGEST_BATCH = 8
# Contract's format -> model_format of declare_model (MindSpore Serving, mindspore_serving.server.register).
SERVABLE_FORMATS = {"mindir": "MindIR", "ms": "MindIR_Lite"}


@dataclass(frozen=True)
class Server:
    """A server: the model formats it takes and what writes its folder, `render(artifact, folder, model)`."""

    formats: tuple[str, ...]
    render: Callable[[Artifact, Path, Path], None]


def _quoted(text: str) -> str:
    # Strings of protobuf's text format are C's, and JSON's without escapes for other letters are among them.
    return json.dumps(text, ensure_ascii=False)


def triton_config(artifact: Artifact) -> str:
    """The text of config.pbtxt: ONNX by the ONNX Runtime backend, a converted .mindir by MindSpore Lite's, mslite.

    Triton counts the batch apart from the shape where it may vary; a fixed batch stands in the shape.
    """
    batch = artifact.input.batch
    dims = {port.name: port.shape[1:] if batch == -1 else port.shape for port in (artifact.input, artifact.output)}
    backend = 'platform: "onnxruntime_onnx"' if artifact.format == "onnx" else 'backend: "mslite"'
    labels = f"\n    label_filename: {_quoted(LABELS)}" if artifact.labels else ""
    text = f"""name: {_quoted(artifact.name)}
{backend}
default_model_filename: {_quoted(artifact.file)}
max_batch_size: {LARGEST_BATCH if batch == -1 else 0}
input [
  {{
    name: {_quoted(artifact.input.name)}
    data_type: {TRITON_TYPES[artifact.input.dtype]}
    dims: [ {", ".join(map(str, dims[artifact.input.name]))} ]
  }}
]
output [
  {{
    name: {_quoted(artifact.output.name)}
    data_type: {TRITON_TYPES[artifact.output.dtype]}
    dims: [ {", ".join(map(str, dims[artifact.output.name]))} ]{labels}
  }}
]
"""
    return text + ("dynamic_batching { }\n" if batch == -1 else "")


def _triton(artifact: Artifact, folder: Path, model: Path) -> None:
    (folder / VERSION).mkdir()
    shutil.copyfile(model, folder / VERSION / artifact.file)
    (folder / "config.pbtxt").write_text(triton_config(artifact), encoding="utf-8")
    if artifact.labels:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in artifact.labels), encoding="utf-8")


def servable_config(artifact: Artifact) -> str:
    """The text of servable_config.py for MindSpore Serving: the contract's values as literals, the rest as it is."""
    template = (files("glorext.deploy") / "templates" / "servable_config.py.in").read_text(encoding="utf-8")
    values = {
        "MODEL": artifact.file,
        "OUTPUT": artifact.output.name,
        "DTYPE": artifact.input.dtype,
        "SHAPE": artifact.input.shape[1:],
        "LABELS": artifact.labels,
        "FORMAT": SERVABLE_FORMATS[artifact.format],
    }
    for name, value in values.items():
        template = template.replace(f"@{name}@", repr(value))
    return template


def _mindspore(artifact: Artifact, folder: Path, model: Path) -> None:
    (folder / VERSION).mkdir()
    shutil.copyfile(model, folder / VERSION / artifact.file)
    (folder / "servable_config.py").write_text(servable_config(artifact), encoding="utf-8")


SERVERS = {"triton": Server(("onnx", "lite-mindir"), _triton), "mindspore": Server((*SERVABLE_FORMATS,), _mindspore)}


def write_servable(model: Path, out: Path, server: str) -> Path:
    """Write the folder out/NAME with which `server` serves an exported or converted model; an existing one is replaced.

    Raises:
        UsageError: an unknown server, or a format that it does not take.
        DataError, IntegrityError: the model or its contract is not whole.
    """
    artifact = read_artifact(model)
    if server not in SERVERS:
        raise UsageError(expected=f"a server out of {', '.join(SERVERS)}", found=server, where="--server")
    known = SERVERS[server]
    if artifact.format not in known.formats:
        raise UsageError(
            expected=f"a model of format {' or '.join(known.formats)} for {server}",
            found=artifact.format,
            where=model,
            do="Make one with `glorext export` or `glorext convert`.",
        )
    folder = Path(out) / artifact.name
    with atomic_dir(folder, replace=True) as temporary:
        known.render(artifact, temporary, Path(model))
    return folder


def main(argv: list[str]) -> int:
    """`glorext serving`."""
    arguments = parser(
        "serving",
        "Write the folder with which Triton or MindSpore Serving serves a model.",
        "glorext serving exported/resnext50-digits.onnx --server triton --out repository/",
    )
    arguments.add_argument("model", type=Path, help="an exported or converted model, its contract beside it")
    arguments.add_argument("--server", required=True, help=" or ".join(SERVERS))
    arguments.add_argument(
        "--out", required=True, type=Path, help="Triton's model repository, or the servables' folder"
    )
    options = arguments.parse_args(argv)
    print(write_servable(options.model, options.out, options.server))
    return 0
