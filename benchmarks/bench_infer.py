"""Pictures a second from JPEG files to top-5 on CPU: glorext_infer beside onnxruntime with Pillow, with equal threads.

Usage: python benchmarks/bench_infer.py [--network resnext50] [--data FOLDER] [--rounds 3]

Claims: the C++ program is at least as fast as the Python way, and its pipeline costs at most a tenth of what two
one-thread models alone could do. The rounds alternate between the ways, so a machine that drifts slows all of them.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "imagenet_sample" / "val"


def python_way(model: Path, pictures: list[Path], spec, threads: int):
    """One onnxruntime session per thread of one thread each, Pillow decoding: the same work on the same threads."""
    import onnxruntime
    from glorext.models.preprocess import preprocess
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    sessions = [onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
                for _ in range(threads)]

    def share(number):
        top5 = []
        for path in pictures[number::threads]:
            logits, = sessions[number].run(["logits"], {"image": preprocess(path, spec)[None]})
            top5.append(np.argsort(-logits[0], kind="stable")[:5])
        return top5

    def run():
        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(share, range(threads)))
        seconds = time.perf_counter() - started
        assert sum(map(len, answers)) == len(pictures)
        return len(pictures) / seconds

    return run


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--network", default="resnext50")
    arguments.add_argument("--data", type=Path, default=SAMPLE)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    if not options.data.is_dir():
        print(f"skipped: no pictures in {options.data}; name a folder of JPEG files with --data")
        return 0
    from glorext.deploy import native
    from glorext.deploy.convert import convert
    from glorext.deploy.export import export
    from glorext.deploy.infer import infer
    from glorext.deploy.source import Source
    from glorext.models import create, save_checkpoint, spec, weights_digest
    from glorext.models.preprocess import preprocess
    from glorext.runtime import set_device
    set_device("CPU")
    threads, input_spec = os.cpu_count(), spec(options.network).input
    pictures = sorted(path for path in options.data.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_checkpoint(create(options.network), folder / "x.ckpt")
        source = Source(options.network, options.network, {}, folder / "x.ckpt", input_spec,
                        tuple(map(str, range(1000))), weights_digest(folder / "x.ckpt"))
        onnx, = export(source, folder, ["onnx"])
        model, = convert(folder / onnx.file, folder, ["mindir"])
        programs = native.build()
        np.save(folder / "tensors.npy", np.stack([preprocess(path, input_spec) for path in pictures]))
        python = python_way(folder / onnx.file, pictures, input_spec, threads)

        def cpp():
            return infer(folder / model.file, options.data, folder / f"r{time.time_ns()}", workers=threads, threads=1,
                         programs=programs).throughput

        def model_only():
            import json
            import subprocess
            out = folder / f"m{time.time_ns()}"
            subprocess.run([programs.infer, "--model", folder / model.file, "--tensor", folder / "tensors.npy", "--workers",
                            str(threads), "--threads", "1", "--out", out], check=True, stderr=subprocess.DEVNULL)
            return json.loads((out / "results.json").read_text())["throughput"]

        ways = {"glorext_infer, JPEG to top-5": cpp, "onnxruntime + Pillow, JPEG to top-5": python,
                "glorext_infer, model only": model_only}
        rounds = [{name: way() for name, way in ways.items()} for _ in range(options.rounds)]
    print(f"{options.network}, {len(pictures)} pictures, {threads} one-thread models, median of {options.rounds} rounds")
    for name in ways:
        print(f"  {name:<38} {statistics.median(one[name] for one in rounds):6.1f} pictures/s")
    first, second, third = ways
    for title, other in (("against onnxruntime + Pillow", second), ("share of the model-only limit", third)):
        ratio = statistics.median(one[first] / one[other] for one in rounds)
        print(f"  {title:<38} {ratio:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
