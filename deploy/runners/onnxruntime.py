"""Runs ONNX files in onnxruntime, which is an option: without it, whatever needs it says so."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact
from glorext.deploy.runners.common import Run, join, laid_out, preprocessed
from glorext.models.answers import Results, best_classes
from glorext.runtime import SetupError
from glorext.train.pictures import Pictures

# onnxruntime's memory grows with the batch.
BATCH = 8


def require_onnxruntime() -> None:
    """Raise SetupError where onnxruntime is not installed."""
    if find_spec("onnxruntime") is None:
        raise SetupError("onnxruntime is not installed", do="Run: pip install onnxruntime")


def open_session(model: Path | bytes, fuse: bool = True):
    """An onnxruntime session on the CPU for an ONNX file or its bytes.

    Args:
        fuse: let onnxruntime fuse nodes, after which the values between them are gone.

    Raises:
        SetupError: onnxruntime is not installed.
    """
    require_onnxruntime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def run_onnx(path: Path, batch: np.ndarray) -> np.ndarray:
    """Outputs (N, K) of an exported ONNX file for one batch of the type and layout that it takes."""
    session = open_session(path)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def on_pictures(path: Path, artifact: Artifact) -> Run:
    """A function from pictures to the answers of an ONNX file with the contract `artifact`, which is opened now."""
    session, fixed = open_session(path), artifact.input.batch
    import onnxruntime

    def answered(pictures: Pictures, indices, inputs: np.ndarray, preprocessing: float) -> Results:
        # A fixed batch is filled up with the first picture, and the filling cut off again.
        filled = np.concatenate([inputs, inputs[:1].repeat(max(0, fixed - len(inputs)), 0)])
        start = time.perf_counter()
        feed = {artifact.input.name: laid_out(filled, artifact.input.layout)}
        logits = session.run([artifact.output.name], feed)[0][: len(indices)].astype(np.float32)
        inference = 1e3 * (time.perf_counter() - start) / len(indices)
        each = preprocessing + inference
        return Results(
            backend="onnx",
            device="cpu",
            batch=len(filled),
            workers=1,
            threads=os.cpu_count() or 1,
            model=artifact.model,
            artifact={
                "file": artifact.file,
                "sha256": artifact.sha256,
                "output": artifact.output.name,
                "weights_dtype": artifact.weights_dtype,
            },
            logits=logits,
            pictures=[
                {"path": pictures.paths[index], "top5": best, "ms": each}
                for index, best in zip(indices, best_classes(logits).tolist())
            ],
            latency_ms={},
            throughput=1e3 / each,
            seconds=each * len(indices) / 1e3,
            stages_ms={"preprocess": preprocessing, "infer": inference},
            versions={"onnxruntime": onnxruntime.__version__},
        )

    def run(pictures: Pictures) -> Results:
        chunks = preprocessed(pictures, artifact, fixed if fixed > 0 else BATCH)
        return join([answered(pictures, *chunk) for chunk in chunks])

    return run
