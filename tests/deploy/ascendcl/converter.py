"""Stands in for converter_lite with a card: writes models of the stand-in for AscendCL as it writes a card's.

It compiles nothing. As a program it is given an ONNX file or a MINDIR and the inputs that the model shall know, and
asks onnxruntime, or MindSpore Lite on the CPU, for the outputs; the sizes and AIPP are those of the configuration.
Without a configuration, so for the CPU, MindSpore Lite's own converter does the work.
  STAND_IN_EXPORTED the exported MINDIR: its contract says what a model's inputs and outputs are
  STAND_IN_INPUTS   .npy, float32 (K, 3, 32, 32): as the network takes them
  STAND_IN_PIXELS   .npy, uint8 (K, 32, 32, 3): with AIPP, which this normalizes as the configuration says
  STAND_IN_WRONG    the batch size at which the model shall compute something else
"""

import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np


def _mindir():
    """MindSpore's description of the format, without MindSpore, whose import takes seconds."""
    name = "mindspore.train.mind_ir_pb2"
    if name not in sys.modules:
        folder = Path(importlib.util.find_spec("mindspore").origin).parent
        spec = importlib.util.spec_from_file_location("mind_ir_pb2", folder / "train" / "mind_ir_pb2.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return sys.modules[name]


def model(batches=(), batch=1, uint8=False, nhwc=False, chip="Ascend310P3", wrong=0, known=None) -> bytes:
    """One of the stand-in's models of 32 x 32 pictures and ten classes (see model.cc).

    Args:
        batches: the prepared sizes; without them the batch is `batch`.
        wrong: the batch size at which it computes something else.
        known: (inputs as the model takes them, float32 (K, 10)); without it the model sums its inputs.
    """
    text = f"STAND_IN chip={chip} batch={batch} uint8={uint8:d} nhwc={nhwc:d} wrong={wrong}"
    text += f" batches={','.join(map(str, batches))}" if len(batches) else ""
    if known is None:
        return text.encode()
    inputs, outputs = known
    inputs, outputs = np.ascontiguousarray(inputs, "u1" if uint8 else "<f4"), np.ascontiguousarray(outputs, "<f4")
    return f"{text} known={len(inputs)}\n".encode() + inputs.tobytes() + outputs.tobytes()


def write(path: Path, blob: bytes, rows: int, nhwc=False) -> None:
    """Write the .mindir around a model; `rows` is its batch, -1 with prepared sizes."""

    def attribute(owner, name, kind, **values):
        made = owner.add(name=name)
        made.type = getattr(made, kind)
        for key, value in values.items():
            setattr(made, key, value)
        return made

    mindir = _mindir().ModelProto(
        ir_version="0.1.1", producer_name="MindSpore", model_version="2.0.0", little_endian=True
    )
    mindir.mind_ir_version = 1
    graph = mindir.graph
    graph.name = "main_graph"
    attribute(graph.attribute, "isOptimized", "BOOL", i=1)
    attribute(graph.attribute, "fmk", "INT32", i=3)
    attribute(graph.attribute, "graph_name", "STRING", s=b"main_graph")
    shape = [rows, 32, 32, 3] if nhwc else [rows, 3, 32, 32]
    graph.input.add(name="image").tensor.add(data_type=1, name="image").dims.extend(shape)
    graph.parameter.add(name="main_graph:ACL_om_data", data_type=2, raw_data=blob).dims.append(len(blob))
    primitive = mindir.primitives.add(name="Custom:0", op_type="Custom", instance_name="")
    for name, value in (("type", b"ACL"), ("func_type", b"acl_build"), ("uniq_name", b"CustomAscend")):
        attribute(primitive.attribute, name, "STRING", s=value)
    node = graph.node.add(op_type="REF::Custom:0", name="logits", domain="custom_0")
    node.input.extend(["image", "main_graph:ACL_om_data"])
    node.output.append("logits")
    attribute(node.attribute, "shape", "TENSORS").tensors.add(data_type=1).dims.extend([rows, 10])
    graph.output.add(name="logits").tensor.add(data_type=1).dims.extend([rows, 10])
    path.write_bytes(mindir.SerializeToString())


def normalized(pixels, text):
    """What AIPP makes of uint8 (K, 32, 32, 3), by its own configuration."""
    values = {key: float(value) for key, value in re.findall(r"(\w+): ([0-9.]+)$", text, re.M)}
    least, scale = ([values[f"{name}_chn_{channel}"] for channel in range(3)] for name in ("min", "var_reci"))
    return ((pixels - np.array(least)) * np.array(scale)).transpose(0, 3, 1, 2).astype(np.float32)


def converted(model: Path, prefix: Path, save: str) -> Path:
    """By MindSpore Lite's own converter, for the CPU."""
    from glorext.deploy.contract.artifact import read_artifact
    from glorext.deploy.convert.run_converter import run_converter
    from glorext.deploy.runners.programs import build

    return run_converter(model, prefix, save, read_artifact(Path(os.environ["STAND_IN_EXPORTED"])), build())


def answers(model: Path, inputs):
    """What the network computes for each of `inputs`."""
    if model.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(model))
        return np.concatenate([session.run(None, {"image": one[None]})[0] for one in inputs])
    from glorext.deploy.contract.artifact import Device, read_artifact, write_artifact
    from glorext.deploy.runners.lite import run_tensor

    exported = vars(read_artifact(Path(os.environ["STAND_IN_EXPORTED"])))
    kept = ("model", "input", "output", "labels", "weights_dtype", "deviation", "source", "versions")
    with tempfile.TemporaryDirectory() as scratch:
        file = converted(model, Path(scratch) / "on_the_cpu", "mindir")
        values = {key: exported[key] for key in kept} | {"format": "lite-mindir", "device": Device("cpu")}
        write_artifact(file, **values)
        return run_tensor(file, inputs)


def main(words):
    """Take converter_lite's flags."""
    flags = dict(word.removeprefix("--").split("=", 1) for word in words)
    assert flags["inputDataFormat"] == "NCHW", flags
    if "configFile" not in flags:
        converted(Path(flags["modelFile"]), Path(flags["outputFile"]), {"MINDIR_LITE": "ms"}[flags["saveType"]])
        return
    assert (flags["saveType"], flags["optimize"]) == ("MINDIR", "ascend_oriented"), flags
    model_file = Path(flags["modelFile"])
    assert model_file.suffix == f".{flags['fmk'].lower()}", flags
    config = dict(line.split("=", 1) for line in Path(flags["configFile"]).read_text().splitlines() if "=" in line)
    sizes = [int(size) for size in re.findall(r"\[(\d+)\]", config.get("dynamic_dims", ""))]
    aipp = config.get("insert_op_config_file_path")
    given = np.load(os.environ["STAND_IN_PIXELS" if aipp else "STAND_IN_INPUTS"])
    inputs = normalized(given, Path(aipp).read_text()) if aipp else given
    blob = model(
        sizes,
        uint8=bool(aipp),
        nhwc=bool(aipp),
        chip=os.environ["STAND_IN_CHIP"],
        wrong=int(os.environ.get("STAND_IN_WRONG", 0)),
        known=(given, answers(model_file, inputs)),
    )
    write(Path(f"{flags['outputFile']}.mindir"), blob, -1 if sizes else 1)


if __name__ == "__main__":
    # A bundle starts it with nothing in the environment that would lead to this checkout.
    sys.path.insert(0, str(Path(__file__).parents[3] / "src"))
    from glorext.runtime.mindspore_versions import choose_protobuf

    choose_protobuf()
    main(sys.argv[1:])
