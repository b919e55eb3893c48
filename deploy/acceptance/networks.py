"""Both networks with weights that let every layer be seen, and their logits at each precision against the CPU's."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from glorext.deploy.acceptance.setting import CLASSES, DIGITS, FRESH, NETWORKS, PICTURES, arguments
from glorext.deploy.acceptance.worker import Found, Job
from glorext.deploy.contract.closeness import BFLOAT16, EXPORTED, FLOAT16, compare
from glorext.deploy.contract.golden import COUNT, golden_pixels
from glorext.deploy.parity.hops import load_inputs
from glorext.deploy.runners.common import in_batches
from glorext.hub.open_model import BEST, open_model
from glorext.models import InputSpec, create, save_checkpoint, spec, weights_digest
from glorext.models.labels import LABELS, labels_digest, write_labels
from glorext.models.trained import Identity, TrainedModel, write_run
from glorext.runtime import atomic_dir, read_json, set_device, write_json
from glorext.runtime.device import has_bfloat16
from glorext.train.digits import write_digits
from glorext.train.initial import in_precision
from glorext.train.recipe import Recipe

SMALL_SIZE, PICTURE = 32, (400, 300)
# Running statistics move by a tenth with each pass.
PASSES, TIMED, IMAGES = 8, 2, 4
# What a precision is called: the level of mixed precision and the type that it computes in.
PRECISIONS: dict[str, tuple[Any, Any]] = {
    "float32 (O0)": ("O0", "float16"),
    "float16 (O2)": ("O2", "float16"),
    "float16 (O3)": ("O3", "float16"),
    "bfloat16 (O2)": ("O2", "bfloat16"),
}


def answers(job: Job) -> Found:
    """Multiply two matrices of whole numbers on the device."""
    import mindspore as ms

    set_device(job.device)
    one, other = (np.random.default_rng(seed).integers(0, 4, (64, 64)).astype(np.float32) for seed in (0, 1))
    product = ms.ops.matmul(ms.Tensor(one), ms.Tensor(other)).asnumpy()
    wrong = [] if np.array_equal(product, one @ other) else ["another product than NumPy's"]
    name = "the CPU" if job.device == "CPU" else ms.hal.get_device_name(0, job.device)
    return Found(f"MindSpore {ms.__version__} computes on {name}", tuple(wrong))


def prepare(job: Job) -> Found:
    """Write the digits, pictures as a camera has them, and a run's folder for each network, all made here."""
    set_device("CPU")
    train, val = write_digits(job.path / DIGITS)
    count = write_pictures(job.path / PICTURES, 2 if job.short else 5)
    for network in NETWORKS:
        write_network(job, network)
        logits(job, network, "CPU", str(job.path / f"{network}-cpu"))
    return Found(f"{train} + {val} digits, {count} JPEG of {PICTURE[0]}x{PICTURE[1]}, {' and '.join(NETWORKS)}")


def write_pictures(out: Path, each: int) -> int:
    """Write OUT/<0 to 9>/*.jpg, `each` of a class: colored fields with noise; how many there are."""
    from PIL import Image

    seeds = golden_pixels(max(PICTURE))
    width, height = PICTURE
    with atomic_dir(out) as folder:
        for number in range(each * len(CLASSES)):
            path = folder / CLASSES[number % len(CLASSES)] / f"{number:04}.jpg"
            path.parent.mkdir(exist_ok=True)
            turned = np.roll(seeds[number % COUNT], 17 * number, axis=(0, 1))[:height, :width]
            Image.fromarray(turned).save(path, quality=90)
    return each * len(CLASSES)


def write_run_of(job: Job, name: str, network: str, net) -> None:
    """Write JOB/NAME as the folder of a run that ended with the weights of `net`."""
    folder = job.path / name
    folder.mkdir()
    save_checkpoint(net, folder / BEST)
    write_labels(folder / LABELS, CLASSES)
    write_run(folder, identity(job, name, network, weights_digest(folder / BEST)), None)


def identity(job: Job, name: str, network: str, weights: str = "0" * 64) -> Identity:
    """The record of a network of the job, with the digest of its weights."""
    side = InputSpec(size=SMALL_SIZE, resize=SMALL_SIZE) if job.short else spec(network).input
    digest, given = labels_digest(CLASSES), arguments(job, network)
    return Identity(name, None, network, given, len(CLASSES), side, digest, weights, None)


def write_network(job: Job, network: str) -> None:
    """Write two runs of a network: fresh weights, and such that show every layer.

    Those have norms with real statistics, nothing that is zero or one, and centered logits of order 1.
    """
    import mindspore as ms

    model = TrainedModel(**vars(identity(job, network, network)), checkpoint=job.path, labels=CLASSES)
    images = ms.Tensor(load_inputs(model, job.path / PICTURES, IMAGES).images)
    generator = np.random.default_rng(1)
    ms.set_seed(1)
    net = create(network, **model.arguments)
    write_run_of(job, f"{network}{FRESH}", network, net)
    for parameter in net.get_parameters():
        value = parameter.asnumpy()
        if value.ndim > 1 and not value.any():  # GloRe's last convolution starts at zero
            value = generator.normal(0, 0.02, value.shape)
        if value.ndim == 1:
            value = value * generator.uniform(0.7, 1.3, value.shape) + generator.normal(0, 0.05, value.shape)
        if parameter.name.endswith("bn3.gamma"):
            value = value + 0.3  # each block's last norm starts at zero: its branch would say nothing
        parameter.set_data(ms.Tensor(value.astype(np.float32)))
    net.set_train(True)
    for _ in range(PASSES):
        net(images)
    net.set_train(False)
    logits = net(images).asnumpy()
    middle, scale = logits.mean(0), 1 / np.abs(logits - logits.mean(0)).max()
    weight, bias = [parameter for parameter in net.get_parameters() if parameter.shape[0] == len(CLASSES)][-2:]
    weight.set_data(ms.Tensor((weight.asnumpy() * scale).astype(np.float32)))
    bias.set_data(ms.Tensor(((bias.asnumpy() - middle) * scale).astype(np.float32)))
    write_run_of(job, network, network, net)


def logits(job: Job, network: str, device: str, out: str) -> None:
    """Write the logits of the pictures at each precision that `device` has, as OUT/<number>.npy, and found.json.

    On the CPU, and on nothing but it, as the reference: in float32 only (OUT ends in "-cpu").
    """
    import mindspore as ms

    set_device(device)
    folder = Path(out)
    folder.mkdir()
    source = open_model(job.path / network)
    images = load_inputs(source, job.path / PICTURES, IMAGES).images
    found, names = {}, list(PRECISIONS)[:1] if out.endswith("-cpu") else list(PRECISIONS)
    for number, name in enumerate(names):
        level, dtype = PRECISIONS[name]
        if job.short and level == "O3":
            continue
        if dtype == "bfloat16" and not (device == "Ascend" and has_bfloat16()):
            continue
        recipe = Recipe(amp_level=level, amp_dtype=dtype)
        net = in_precision(source.create(), recipe, device).set_train(False)

        @ms.jit(jit_level=recipe.jit_level)
        def forward(batch, net=net):
            return net(batch)

        def run(batch, forward=forward):
            return forward(ms.Tensor(batch)).asnumpy().astype(np.float32)

        np.save(folder / f"{number}.npy", in_batches(run, images))
        begun, times = time.perf_counter(), 0 if out.endswith("-cpu") else TIMED
        for _ in range(times):
            in_batches(run, images)
        found[name] = [number, 1000 * (time.perf_counter() - begun) / TIMED]
    memory = {} if device == "CPU" else {"card": ms.runtime.max_memory_allocated() / 1e6}
    memory["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    write_json(folder / "found.json", {"precisions": found, "memory": memory})


def tolerance(name: str, device: str) -> float:
    """How far a precision's logits may lie from the CPU's in float32, as a share of the largest, at least 1."""
    if name.startswith("bfloat16"):
        return BFLOAT16
    return EXPORTED if name.startswith("float32") and device == "CPU" else FLOAT16


def forward(job: Job, network: str) -> Found:
    """Hold the device's logits at each precision against the CPU's in float32, which `prepare` left."""
    expected, mine = job.path / f"{network}-cpu", job.path / f"{network}-device"
    logits(job, network, job.device, str(mine))
    reference, found = np.load(expected / "0.npy"), read_json(mine / "found.json")
    wrong, told, numbers, side = [], [], [], open_model(job.path / network).input_spec.size
    for name, (number, milliseconds) in found["precisions"].items():
        comparison = compare(np.load(mine / f"{number}.npy"), reference)
        limit = comparison.limit(tolerance(name, job.device))
        if not comparison.within(limit):
            wrong.append(f"{name}: logits {comparison.max_difference:.1e} apart, at most {limit:.0e} allowed")
        elif comparison.clear:
            wrong.append(f"{name}: {len(comparison.clear)} answers changed that were clear")
        told.append(f"{name} {comparison.max_difference:.1e}")
        numbers.append(job.number(f"{network} {name}, logits apart at most", comparison.max_difference, ""))
        what = f"{network} {name}, forward of {len(reference)} pictures {side}x{side}"
        numbers.append(job.number(what, milliseconds, "ms"))
    for place, value in found["memory"].items():
        numbers.append(job.number(f"{network} forward, most memory of the {place}", value, "MB"))
    text = f"largest difference of two logits out of {np.abs(reference).max():.1f}: {', '.join(told)}"
    return Found(text, tuple(wrong), tuple(numbers))
