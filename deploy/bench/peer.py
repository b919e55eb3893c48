"""`python -m glorext.deploy.bench.peer RUNTIME`: an ONNX file in onnxruntime or OpenVINO, as glorext_bench measures.

It takes glorext_bench's flags and prints the same JSON. A process of its own, so that memory is the runtime's alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from glorext.deploy.bench.load import Load
from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.runners.common import laid_out
from glorext.deploy.validate.predict import listed
from glorext.models.answers import best_classes
from glorext.models.preprocess import crop, normalize

RANDOM_ROWS = 8


def onnxruntime_session(model: Path, workers: int, threads: int):
    """(what answers, version): one session, whose weights all threads share; it runs in the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0], onnxruntime.__version__


def openvino_session(model: Path, workers: int, threads: int):
    """(what answers, version): as many streams as workers. By itself it may calculate in bfloat16: others do not."""
    import queue

    import openvino

    settings = {"NUM_STREAMS": workers, "INFERENCE_NUM_THREADS": workers * threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    free: queue.SimpleQueue = queue.SimpleQueue()
    for _ in range(workers):
        free.put(compiled.create_infer_request())

    def answer(inputs: np.ndarray) -> np.ndarray:
        request = free.get()
        try:
            return request.infer({0: inputs})[compiled.output(0)].copy()
        finally:
            free.put(request)

    return answer, openvino.__version__


RUNTIMES = {"onnxruntime": onnxruntime_session, "openvino": openvino_session}


def source_of(artifact: Artifact, images: Path | None):
    """A function to input number i: the pictures in turn, as the contract wants them, or random values."""
    pixels, side = artifact.input.values == "pixels", artifact.input_spec.size
    if images is None:
        generator = np.random.default_rng(0)
        values = generator.integers(0, 256, (RANDOM_ROWS, 3, side, side)).astype(np.float32)
        rows = (values if pixels else values / 64 - 2).astype(artifact.input.dtype)
        return lambda number: rows[number % RANDOM_ROWS]
    files = list(listed([str(images)]))

    def read(number: int) -> np.ndarray:
        one = crop(files[number % len(files)], artifact.input_spec)
        return (one.transpose(2, 0, 1) if pixels else normalize(one, artifact.input_spec)).astype(artifact.input.dtype)

    return read


def megabytes(name: str) -> float:
    """A line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m glorext.deploy.bench.peer")
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--loads", default="full")
    parser.add_argument("--images", type=Path)
    for flag, default in (("--batch", 1), ("--workers", 1), ("--threads", 1)):
        parser.add_argument(flag, type=int, default=default)
    for flag, seconds in (("--warmup", 1.0), ("--seconds", 5.0)):
        parser.add_argument(flag, type=float, default=seconds)
    options = parser.parse_args()
    artifact = read_artifact(options.model)
    started = time.perf_counter()
    answer, version = RUNTIMES[options.runtime](options.model, options.workers, options.threads)
    start, built = time.perf_counter() - started, megabytes("VmRSS")
    source = source_of(artifact, options.images)

    def top5(inputs: np.ndarray):
        best_classes(answer(laid_out(inputs, artifact.input.layout)))

    loads = [
        Load(kind, top5, source, options.workers, options.batch, options.warmup, options.seconds).measure()
        for kind in options.loads.split(",")
    ]
    report = {
        "workers": options.workers,
        "threads": options.threads,
        "batch": options.batch,
        "start_s": start,
        "memory_mb": {"started": built, "most": megabytes("VmHWM")},
        "loads": loads,
        "layers": None,
        "versions": {options.runtime: version},
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
