"""Readers of ONNX that others wrote, in the browser's engine and OpenVINO, give the network's answers at any batch."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from glorext.deploy.contract.closeness import EXPORTED, compare, require_close
from glorext.runtime import ExportError

# In processes of their own: MindSpore has its own oneDNN, OpenVINO another. On processors that compute in bfloat16
# OpenVINO does so unless it is told otherwise, and has no pooling then under the limit that glorext sets for MindSpore.
OPENVINO = """
import sys, numpy, openvino
model, inputs, out = sys.argv[1:]
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save(out, compiled(numpy.load(inputs))[0])
print(openvino.__version__)
"""
WEB = """
const fs = require("fs");
const ort = require("onnxruntime-web");
const [model, inputs, out, ...shape] = process.argv.slice(1);
(async () => {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync(model), {executionProviders: ["wasm"]});
  const bytes = fs.readFileSync(inputs);
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const feeds = {[session.inputNames[0]]: new ort.Tensor("float32", values, shape.map(Number))};
  const answer = (await session.run(feeds))[session.outputNames[0]];
  fs.writeFileSync(out, Buffer.from(answer.data.buffer, answer.data.byteOffset, answer.data.byteLength));
  console.log(JSON.stringify({dims: answer.dims, version: ort.env.versions.web}));
})();
"""


def in_openvino(model, inputs, folder):
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed: pip install openvino")
    np.save(folder / "in.npy", inputs)
    words = [sys.executable, "-c", OPENVINO, str(model), str(folder / "in.npy"), str(folder / "out.npy")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npy"), done.stdout.strip()


def in_onnxruntime_web(model, inputs, folder):
    if (node := shutil.which("node")) is None:
        pytest.skip("no node on this machine")
    if subprocess.run([node, "-e", "require.resolve('onnxruntime-web')"], capture_output=True).returncode:
        pytest.skip("onnxruntime-web is not installed: npm install onnxruntime-web, its node_modules in NODE_PATH")
    (folder / "in.bin").write_bytes(np.ascontiguousarray(inputs, "<f4").tobytes())
    words = [node, "-e", WEB, "--", str(model), str(folder / "in.bin"), str(folder / "out.bin")]
    done = subprocess.run([*words, *map(str, inputs.shape)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return np.fromfile(folder / "out.bin", "<f4").reshape(told["dims"]), told["version"]


@pytest.mark.parametrize("run", [in_openvino, in_onnxruntime_web])
@pytest.mark.parametrize("batch", [1, 4])
def test_another_reader_of_onnx_gives_the_networks_answers(exported, tmp_path, run, batch):
    inputs, expected = (np.load(exported / f"tiny_golden_{part}put.npy")[:batch] for part in ("in", "out"))
    found, told = run(exported / "tiny.onnx", inputs, tmp_path)
    require_close(found, expected, EXPORTED, "logits", ExportError, of="the network's", where=told, do="Look at it.")
    assert found.shape == expected.shape and np.abs(expected).max() > 0.1
    comparison = compare(found, expected)
    print(f"{run.__name__} {told}, batch {batch}: at most {comparison.max_difference:.1e} apart")
