"""Writes the folder and configuration with which Triton Inference Server serves a model, from its contract."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.runtime import UsageError, atomic_dir
from glorext.runtime.cli import parser

LABELS, VERSION = "labels.txt", "1"
TRITON_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
LARGEST_BATCH = 8
# Contract's format -> ending of the file. MindSpore Lite's backend opens NAME.<model_type> and reads no
# default_model_filename (mindspore-lite, tools/providers/triton/backend); its model_type is such an ending.
FORMATS = {"onnx": "onnx", "lite-mindir": "mindir", "ms": "ms"}
SERVERS = ("triton",)


def _quoted(text: str) -> str:
    # Strings of protobuf's text format are C's, and JSON's without escapes for other letters are among them.
    return json.dumps(text, ensure_ascii=False)


def _file_name(artifact: Artifact) -> str:
    """The name that the backends open: the model's, and the ending of its kind."""
    return f"{artifact.name}.{FORMATS[artifact.format]}"


def _lite_parameters(artifact: Artifact) -> str:
    """What MindSpore Lite's backend asks for: without device_type it serves on the CPU, whatever the model is for."""
    on_card = artifact.device is not None and artifact.device.family != "cpu"
    values = {"model_type": FORMATS[artifact.format], "device_type": "ascend" if on_card else "cpu"}
    values |= {"device_id": "0"} if on_card else {}
    return "".join(
        f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}\n"
        for key, value in values.items()
    )


def _batching(artifact: Artifact) -> tuple[int, str]:
    """The largest batch that Triton may join, 0 for a fixed one, and its dynamic_batching.

    MindSpore Lite's backend fills a request up to the next of preferred_batch_size, and where there is none up to the
    largest batch: every size is named, or for a card every prepared one.
    """
    if artifact.input.batch != -1:
        return 0, ""
    if artifact.format == "onnx":
        return LARGEST_BATCH, "dynamic_batching { }\n"
    sizes = (artifact.device.batches if artifact.device else ()) or tuple(range(1, LARGEST_BATCH + 1))
    return sizes[-1], f"dynamic_batching {{ preferred_batch_size: [ {', '.join(map(str, sizes))} ] }}\n"


def triton_config(artifact: Artifact) -> str:
    """The text of config.pbtxt: ONNX by the ONNX Runtime backend, a converted model by MindSpore Lite's, mslite.

    Triton counts the batch apart from the shape where it may vary; a fixed batch stands in the shape.
    """
    batch = artifact.input.batch
    dims = {port.name: port.shape[1:] if batch == -1 else port.shape for port in (artifact.input, artifact.output)}
    onnx = artifact.format == "onnx"
    backend = f'platform: "onnxruntime_onnx"\ndefault_model_filename: {_quoted(_file_name(artifact))}'
    labels = f"\n    label_filename: {_quoted(LABELS)}" if artifact.labels else ""
    largest, batching = _batching(artifact)
    text = f"""name: {_quoted(artifact.name)}
{backend if onnx else 'backend: "mslite"'}
max_batch_size: {largest}
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
    return text + batching + ("" if onnx else _lite_parameters(artifact))


def _write_triton(artifact: Artifact, folder: Path, model: Path) -> None:
    (folder / VERSION).mkdir()
    shutil.copyfile(model, folder / VERSION / _file_name(artifact))
    (folder / "config.pbtxt").write_text(triton_config(artifact), encoding="utf-8")
    if artifact.labels:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in artifact.labels), encoding="utf-8")


def write_servable(model: Path, out: Path, server: str) -> Path:
    """Write the folder out/NAME with which `server` serves an exported or converted model; an existing one is replaced.

    Raises:
        UsageError: an unknown server, or a format that it does not take.
        DataError, IntegrityError: the model or its contract is not whole.
    """
    artifact = read_artifact(model)
    if server not in SERVERS:
        raise UsageError(
            expected=f"a server out of {', '.join(SERVERS)}",
            found=server,
            where="--server",
            do="MindSpore Serving reads no model of a supported MindSpore: docs/serving.md says what to use instead.",
        )
    if artifact.format not in FORMATS:
        raise UsageError(
            expected=f"a model of format {' or '.join(FORMATS)} for {server}",
            found=artifact.format,
            where=model,
            do="Make one with `glorext export` or `glorext convert`.",
        )
    folder = Path(out) / artifact.name
    with atomic_dir(folder, replace=True) as temporary:
        _write_triton(artifact, temporary, Path(model))
    return folder


def main(argv: list[str]) -> int:
    """`glorext serving`."""
    arguments = parser(
        "serving",
        "Write the folder with which Triton Inference Server serves a model.",
        "glorext serving exported/resnext50-digits.onnx --server triton --out repository/",
    )
    arguments.add_argument("model", type=Path, help="an exported or converted model, its contract beside it")
    arguments.add_argument("--server", default="triton", help="triton (default)")
    arguments.add_argument("--out", required=True, type=Path, help="Triton's model repository")
    options = arguments.parse_args(argv)
    print(write_servable(options.model, options.out, options.server))
    return 0
