"""Claim: at 224x224 no hop from MindSpore to MindSpore Lite changes an answer, or a logit of order 1 by over 0.001.

    python benchmarks/bench_parity.py [--networks resnext50,glore_res50] [--data FOLDER]

Both networks get weights in which nothing is zero or one and logits of order 1; ONNX in onnxruntime (at most 1e-4 from
MindSpore) and MindSpore Lite's .mindir and .ms by the C++ program (at most 1e-3) answer the same pictures. The C++
program decodes and preprocesses them itself. Float16 weights round on purpose: their rows show what that costs, without
a limit. Exit status 1 when a row misses its limit.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from measured import Row, hand_over, network_args, options, pictures_in

BATCH = 10
# Running statistics move by a tenth with each pass.
PASSES = 25


def in_batches(run, inputs):
    """Outputs of `run` over all `inputs`, BATCH of them at a time."""
    return np.concatenate([run(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)])


def make(name: str, folder: Path, sample: np.ndarray, **network_args):
    """A Source of the network `name` that tells pictures apart: norms of real statistics, centered logits up to 1."""
    import mindspore as ms

    from glorext.hub import open_model
    from glorext.models import create, save_checkpoint

    ms.set_seed(1)
    generator = np.random.default_rng(1)
    net = create(name, **network_args)
    for parameter in net.get_parameters():
        value = parameter.asnumpy()
        if value.ndim > 1 and not value.any():  # GloRe's last convolution starts at zero
            value = generator.normal(0, 0.02, value.shape)
        if value.ndim == 1:
            value = value * generator.uniform(0.7, 1.3, value.shape) + generator.normal(0, 0.05, value.shape)
        parameter.set_data(ms.Tensor(value.astype(np.float32)))
    net.set_train(True)
    for _ in range(2 if network_args else PASSES):
        net(ms.Tensor(sample[:BATCH]))
    net.set_train(False)
    logits = in_batches(lambda batch: net(ms.Tensor(batch)).asnumpy(), sample)
    middle = logits.mean(0)
    weight, bias = [parameter for parameter in net.get_parameters() if parameter.shape[0] == len(middle)][-2:]
    scale = 1 / np.abs(logits - middle).max()
    weight.set_data(ms.Tensor((weight.asnumpy() * scale).astype(np.float32)))
    bias.set_data(ms.Tensor(((bias.asnumpy() - middle) * scale).astype(np.float32)))
    save_checkpoint(net, folder / f"{name}.ckpt")
    return open_model(folder / f"{name}.ckpt")


def measure(name: str, data: Path, folder: Path, **network_args):
    """Rows of (what, logits, limit) for every hop, the first MindSpore itself, over the pictures of `data`."""
    import mindspore as ms

    from glorext.deploy.contract.closeness import EXPORTED, ON_PICTURES
    from glorext.deploy.convert.converter import convert
    from glorext.deploy.export.exporter import export, run_exported
    from glorext.deploy.export.formats import Variant
    from glorext.deploy.runners.lite import infer
    from glorext.deploy.runners.programs import build
    from glorext.models import spec
    from glorext.models.preprocess import preprocess

    programs = build()
    paths = sorted(
        (path for path in data.rglob("*") if path.is_file()), key=lambda path: str(path.relative_to(data)).encode()
    )
    inputs = np.stack([preprocess(path, spec(name).input) for path in paths])
    source = make(name, folder, inputs[::3], **network_args)
    net = source.create()
    yield "MindSpore", in_batches(lambda batch: net(ms.Tensor(batch)).asnumpy(), inputs), None
    export(source, folder)
    yield (
        "ONNX in onnxruntime",
        in_batches(lambda batch: run_exported("onnx", folder / f"{name}.onnx", batch), inputs),
        EXPORTED,
    )
    for artifact in convert(folder / f"{name}.mindir", folder, programs=programs):
        results = infer(folder / artifact.file, data, folder / f"results_{artifact.format}", programs=programs)
        assert [picture["path"] for picture in results.pictures] == [str(path.relative_to(data)) for path in paths]
        yield f"{artifact.file} in C++, from JPEG", results.logits, ON_PICTURES
    (half,) = export(source, folder, ["mindir"], variant=Variant("fp16"))
    for artifact in convert(folder / half.file, folder, programs=programs):
        results = infer(folder / artifact.file, data, folder / f"results_half_{artifact.format}", programs=programs)
        yield f"{artifact.file}, {artifact.size / 1e6:.0f} MB, in C++, from JPEG", results.logits, np.inf


def main() -> int:
    """Measure and print one table."""
    parser = options(__doc__, pictures=True)
    parser.add_argument("--networks", default="resnext50,glore_res50")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.networks = "resnext50"
    from glorext.deploy.contract.closeness import compare
    from glorext.deploy.runners.programs import build
    from glorext.runtime import set_device

    set_device("CPU")
    missed, rows = 0, []
    print(
        "| network | hop | max abs | mean abs | limit | same top-1 |\n| --- | --- | --- | --- | --- | --- |", flush=True
    )
    for name in arguments.networks.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            data, folder = pictures_in(arguments, Path(scratch)), Path(scratch) / "models"
            folder.mkdir()
            for what, logits, limit in measure(name, data, folder, **network_args(arguments)):
                if limit is None:
                    reference, best = logits, logits.argmax(1)
                    print(
                        f"| {name} | {what} | largest logit {np.abs(logits).max():.2f} "
                        f"| {len(set(best))} different answers | | {len(best)} pictures |",
                        flush=True,
                    )
                    continue
                found = compare(logits, reference)
                missed += np.isfinite(limit) and not (found.within(limit) and not found.changed)
                print(
                    f"| {name} | {what} | {found.max_difference:.1e} | {found.mean_difference:.1e} "
                    f"| {limit if np.isfinite(limit) else 'none'} | {len(best) - len(found.changed)} of {len(best)} |",
                    flush=True,
                )
                peer, allowed = ("the limit", limit) if np.isfinite(limit) else (None, None)
                rows.append(Row(f"{name}, {what}", "largest difference", found.max_difference, peer, allowed))
    hand_over(arguments, __doc__, rows, **{"mindspore lite": build().lite.version})
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
