"""The way to offline inference: export, conversion, every prepared size, AIPP, the C++ program against MindSpore."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import psutil

from glorext.deploy.acceptance.record import Number
from glorext.deploy.acceptance.setting import DIGITS, NETWORKS, PICTURES, TRAINED
from glorext.deploy.acceptance.worker import Found, Job, NotRun
from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.contract.closeness import converted_tolerance, require_close
from glorext.deploy.contract.golden import read_golden
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.convert.converter import convert, convert_for_card
from glorext.deploy.doctor.examine import examine, loadings
from glorext.deploy.export.exporter import export
from glorext.deploy.runners import ascend_host
from glorext.deploy.runners.common import Request
from glorext.deploy.runners.lite import infer, run_tensors
from glorext.deploy.runners.programs import build
from glorext.deploy.validate.backends import prepare
from glorext.deploy.validate.verdict import PASS, validate
from glorext.hub.open_model import open_model
from glorext.runtime import InferenceError, set_device
from glorext.train.data import list_pictures

EXPORTED_IN, CONVERTED_IN, CARD_IN, AIPP_IN = "exported", "converted", "card", "card-aipp"
MODELS = (TRAINED, *NETWORKS)
SHORT = (TRAINED, *NETWORKS[1:])  # the trained one is a NETWORKS[0]
SIZES = (1, 4, 8)
INFER = "glorext_infer"


def models(job: Job) -> tuple[str, ...]:
    """The models that go the way, the last two of different networks."""
    return SHORT if job.short else MODELS


def require_lite(job: Job) -> None:
    """Raise NotRun where the C++ program cannot be built or does not run on the job's target, as the doctor says."""
    host = ascend_host.look()
    for row in loadings(examine(host), host):
        if row.where == f"the C++ program, {job.target}" and row.loads == "no" and "MindSpore Lite" not in row.reason:
            raise NotRun(f"{row.reason}")


def converted(job: Job, name: str) -> Path:
    """The converted model of that name which the job's target runs."""
    if job.target == "cpu":
        return job.path / CONVERTED_IN / f"{name}_lite.mindir"
    return job.path / CARD_IN / f"{name}_onnx_{job.target}_lite.mindir"


def exporting(job: Job) -> Found:
    """`glorext export` of the trained run and of both networks as MINDIR and ONNX, each read back and compared."""
    set_device("CPU")
    made = [one for name in models(job) for one in export(open_model(job.path / name), job.path / EXPORTED_IN)]
    return Found(", ".join(f"{one.file} {one.size / 1e6:.1f} MB" for one in made))


def converting(job: Job) -> Found:
    """`glorext convert` for the CPU, each result run on the golden inputs and compared."""
    folder, formats = job.path / EXPORTED_IN, ("mindir",)
    made = [one for name in models(job) for one in convert(folder / f"{name}.mindir", job.path / CONVERTED_IN, formats)]
    return Found(", ".join(one.file for one in made))


def converting_for_card(job: Job, aipp: str = "") -> Found:
    """`glorext convert --target` for the chip of this machine, every prepared size proved on it."""
    require_lite(job)
    card, out = AscendOptions(job.target, SIZES, aipp=bool(aipp)), job.path / (AIPP_IN if aipp else CARD_IN)
    folder, names = job.path / EXPORTED_IN, models(job)[:1] if aipp else models(job)
    made = [convert_for_card(folder / f"{name}.onnx", out, card) for name in names]
    chip = made[0].device and made[0].device.chip
    return Found(f"{', '.join(one.file for one in made)}: sizes {', '.join(map(str, SIZES))} on {chip}")


def sizes(job: Job) -> Found:
    """The converted models at each of the sizes, against the network's own answers to the golden inputs."""
    require_lite(job)
    programs, told, wrong = build(), [], []
    for name in models(job):
        path = converted(job, name)
        artifact, golden = read_artifact(path), read_golden(job.path / EXPORTED_IN / f"{name}.mindir")
        for size in SIZES:
            given = golden.at_batch(size)
            results = run_tensors(path, given.inputs, programs, job.target, batch=size)
            try:
                comparison = require_close(
                    results.logits,
                    given.outputs,
                    converted_tolerance(job.target),
                    artifact.output.name,
                    InferenceError,
                    of="MindSpore",
                    where=f"{path.name}, batch {size}",
                )
            except InferenceError as error:
                wrong.append(str(error))
                continue
            told.append(comparison.max_difference)
    text = f"{len(told)} of {len(models(job)) * len(SIZES)} agree, at most {max(told, default=0):.1e} apart"
    return Found(text, tuple(wrong))


def accuracy(job: Job) -> Found:
    """`glorext validate --backend lite-cpp --reference` of the trained run on the held-out digits."""
    require_lite(job)
    source = open_model(job.path / TRAINED)
    pictures = list_pictures(job.path / DIGITS / "val", source.labels)
    results = prepare(source, Request("lite-cpp", job.target, model=converted(job, TRAINED)), job.path)(pictures)
    reference = prepare(source, Request("mindspore"), job.path)(pictures)
    found = validate(source, results, reference)
    against = found.mindspore
    assert against is not None  # it was given
    wrong = [f"{one.name}: {one.found}, demanded {one.demanded}" for one in found.checks if one.state != PASS]
    if found.verdict != PASS and not wrong:
        wrong.append(f"verdict: {found.verdict}")
    text = f"top-1 {found.measured.top1:.2%}, the answer of MindSpore on {against.same} of {found.measured.count}"
    return Found(f"{text}, logits at most {against.max_difference:.1e} apart", tuple(wrong))


@contextlib.contextmanager
def most_memory():
    """Yield a list that fills with the bytes of memory that the C++ program holds while the block runs."""
    seen, over = [0], threading.Event()

    def look():
        while not over.wait(0.02):
            with contextlib.suppress(psutil.Error):
                running = [child for child in psutil.Process().children() if child.name() == INFER]
                seen.append(sum(child.memory_info().rss for child in running))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def speed(job: Job) -> Found:
    """`glorext infer` of a model of each network from JPEG files, at each size: pictures a second, latency, memory."""
    require_lite(job)
    numbers, wrong = [], []
    for model in models(job)[-2:]:
        contract = read_artifact(converted(job, model))
        network, side = contract.model.network, contract.input_spec.size
        for size in SIZES:
            out = job.path / f"infer-{network}-{size}"
            with most_memory() as memory:
                results = infer(converted(job, model), job.path / PICTURES, out, job.target, batch=size)
            if results.failed:
                wrong.append(f"{network}: {len(results.failed)} pictures failed")
            name = f"{network} {side}x{side}, from JPEG, batch {size}, {results.workers} models"
            latency = {f", {key} of a picture": results.latency_ms[key] for key in ("p50", "p99")}
            numbers.append(Number(name, results.throughput, "pictures/s", job.infers_on))
            numbers += [Number(f"{name}{what}", value, "ms", job.infers_on) for what, value in latency.items()]
            numbers.append(Number(f"{name}, most memory of the host", max(memory) / 1e6, "MB", job.processor))
    return Found(f"{results.count} pictures of {' and '.join(NETWORKS)} at batch 1, 4, 8", tuple(wrong), tuple(numbers))
