"""Pictures a second from JPEG files to top-5 on CPU: glorext_infer beside onnxruntime with Pillow, with equal threads.

    python benchmarks/bench_infer.py [--network resnext50] [--data FOLDER] [--rounds 3]

Claims: the C++ program is at least as fast as the Python way, and its pipeline costs at most a tenth of what its
one-thread models alone could do. The rounds alternate between the ways, so a machine that drifts slows all of them.
Both ways have their pictures in batches of one and of two, the C++ program's default, and the better Python one is the
peer. Every picture is read three times, because the first call of a model costs a tenth of a second on either side.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from measured import Row, hand_over, network_args, options, pictures_in


def python_way(model: Path, pictures: list[Path], spec, threads: int, batch: int):
    """One onnxruntime session per thread of one thread each, Pillow decoding: the same work on the same threads."""
    import onnxruntime

    from glorext.models.preprocess import preprocess

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    sessions = [
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]) for _ in range(threads)
    ]

    def share(number):
        top5: list[np.ndarray] = []
        mine = pictures[number::threads]
        for at in range(0, len(mine), batch):
            inputs = np.stack([preprocess(path, spec) for path in mine[at : at + batch]])
            (logits,) = sessions[number].run(["logits"], {"image": inputs})
            top5.extend(np.argsort(-logits, axis=1, kind="stable")[:, :5])
        return top5

    def run():
        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(share, range(threads)))
        seconds = time.perf_counter() - started
        assert sum(map(len, answers)) == len(pictures)
        return len(pictures) / seconds

    return run


def main() -> None:
    """Measure in turns and print the speeds."""
    parser = options(__doc__, pictures=True)
    parser.add_argument("--network", default="resnext50")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds
    from glorext.deploy.convert.converter import convert
    from glorext.deploy.export.exporter import export
    from glorext.deploy.runners.lite import infer
    from glorext.deploy.runners.programs import build
    from glorext.hub import open_model
    from glorext.models import create, save_checkpoint, spec
    from glorext.models.preprocess import preprocess
    from glorext.runtime import set_device

    set_device("CPU")
    threads, input_spec = os.cpu_count() or 1, spec(arguments.network).input
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = pictures_in(arguments, folder)
        for number in range(3):
            (folder / "pictures" / str(number)).parent.mkdir(exist_ok=True)
            (folder / "pictures" / str(number)).symlink_to(data.absolute())
        once = sorted(path for path in data.rglob("*") if path.is_file())
        pictures = 3 * once
        save_checkpoint(create(arguments.network, **network_args(arguments)), folder / "x.ckpt")
        (folder / "labels.txt").write_text("".join(f"{number}\n" for number in range(1000)))
        source = open_model(folder / "x.ckpt", labels=folder / "labels.txt")
        mindir, onnx = export(source, folder, ["mindir", "onnx"])
        (model,) = convert(folder / mindir.file, folder, ["mindir"])
        programs = build()
        tensors = np.stack([preprocess(path, input_spec) for path in once])
        np.save(folder / "tensors.npy", np.tile(tensors, (3, 1, 1, 1)))

        def cpp(batch):
            return infer(
                folder / model.file,
                folder / "pictures",
                folder / f"r{time.time_ns()}",
                workers=threads,
                threads=1,
                batch=batch,
                programs=programs,
            ).throughput

        def model_only():
            out = folder / f"m{time.time_ns()}"
            subprocess.run(
                [
                    programs.infer,
                    "--model",
                    folder / model.file,
                    "--tensor",
                    folder / "tensors.npy",
                    "--workers",
                    str(threads),
                    "--threads",
                    "1",
                    "--out",
                    out,
                ],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            return json.loads((out / "results.json").read_text())["throughput"]

        ways = {
            "glorext_infer": lambda: cpp(0),
            "glorext_infer, batch 1": lambda: cpp(1),
            "onnxruntime + Pillow, batch 2": python_way(folder / onnx.file, pictures, input_spec, threads, 2),
            "onnxruntime + Pillow, batch 1": python_way(folder / onnx.file, pictures, input_spec, threads, 1),
            "glorext_infer, model only": model_only,
        }
        found = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    print(
        f"{arguments.network}, JPEG to top-5, {len(pictures)} pictures, {threads} one-thread models, "
        f"median of {rounds} rounds"
    )
    for name in ways:
        print(f"  {name:<38} {statistics.median(one[name] for one in found):6.1f} pictures/s")
    first, _, *peers, limit = ways
    for title, others in (("against onnxruntime + Pillow", peers), ("share of the model-only limit", [limit])):
        ratio = statistics.median(one[first] / max(one[other] for other in others) for one in found)
        print(f"  {title:<38} {ratio:6.2f}")
    middle = {name: statistics.median(one[name] for one in found) for name in ways}
    best = max(middle[name] for name in peers)
    rows = [
        Row(
            "JPEG to top-5", "pictures/s", middle[first], f"onnxruntime {version('onnxruntime')} + Pillow", best, "more"
        ),
        Row("share of the model-only limit", "pictures/s", middle[first], "the model alone", middle[limit], "more"),
    ]
    hand_over(arguments, __doc__, rows, **{"mindspore lite": programs.lite.version})


if __name__ == "__main__":
    main()
