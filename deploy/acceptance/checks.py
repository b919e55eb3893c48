"""The table of checks: what is demanded, what does it, what it needs before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from glorext.deploy.acceptance.worker import Job

ROOM = "glorext.deploy.acceptance"
LOGITS = (
    "the logits of the CPU in float32: to 1e-4 by a CPU in float32, to 0.06 where layers compute in half precision, to "
    "0.5 in bfloat16; no clear answer changed"
)
LOSSES = "the losses of the CPU at O0: each of the first five to 1 %, the mean of 20 to 5 %"
# What a check may need of the machine, and what to say where it is not there.
SEVERAL, CARD, ONE = "several devices", "an Ascend card", "a device alone"
LACKS = {
    SEVERAL: "one device here, and this takes two",
    CARD: "no Ascend card on this machine",
    ONE: "in the short form only where there is no more than one device",
}
# What the short form leaves out: it takes long, and other rows use most of the same code.
LONG = ("steps-glore_res50", "resume", "counts")


@dataclass(frozen=True)
class Check:
    """One row to be.

    Attributes:
        name, title, demanded: see `Row`.
        place, words: "module:function" that does it, which takes a Job and the words and gives a Found.
        after: rows that must have passed.
        needs: a key of LACKS, or "".
        lacks: why it cannot run here; "" where it can.
    """

    name: str
    title: str
    demanded: str
    place: str
    words: tuple[str, ...] = ()
    after: tuple[str, ...] = ("prepare",)
    needs: str = ""
    lacks: str = ""


TABLE = (
    Check(
        "device", "The device answers", "a product of matrices, right to the bit", f"{ROOM}.networks:answers", after=()
    ),
    Check(
        "prepare",
        "Pictures and networks are made",
        "both networks give finite logits on the CPU",
        f"{ROOM}.networks:prepare",
        after=("device",),
    ),
    Check(
        "forward-resnext50", "ResNeXt50: forward at each precision", LOGITS, f"{ROOM}.networks:forward", ("resnext50",)
    ),
    Check(
        "forward-glore_res50",
        "GloRe-ResNet50: forward at each precision",
        LOGITS,
        f"{ROOM}.networks:forward",
        ("glore_res50",),
    ),
    Check(
        "steps-resnext50", "ResNeXt50: 20 training steps at O0 and O2", LOSSES, f"{ROOM}.training:steps", ("resnext50",)
    ),
    Check(
        "steps-glore_res50",
        "GloRe-ResNet50: 20 training steps at O0 and O2",
        LOSSES,
        f"{ROOM}.training:steps",
        ("glore_res50",),
    ),
    Check(
        "overflow-one",
        "A forced overflow on one device",
        "the step is left out, the loss scale halved, the next one goes on",
        f"{ROOM}.ranks:overflow",
        ("1",),
        needs=ONE,
    ),
    Check(
        "overflow-ranks",
        "A forced overflow on one of two ranks",
        "every rank leaves out that step and no other; equal scales and weights",
        f"{ROOM}.ranks:overflow",
        ("several",),
        needs=SEVERAL,
    ),
    Check(
        "resume",
        "Kill and resume",
        "after SIGKILL and --resume the bits of an unbroken run: weights, optimizer, losses",
        f"{ROOM}.training:resume",
    ),
    Check(
        "train",
        "Training learns",
        "after the epochs a top-1 of at least 50 % and a lower loss",
        f"{ROOM}.training:train",
    ),
    Check("speed-one", "Training speed of one device", "finite losses", f"{ROOM}.ranks:speed", ("1",), needs=ONE),
    Check(
        "speed-several",
        "Training on several devices",
        "equal weights on all ranks at the end",
        f"{ROOM}.ranks:speed",
        ("several",),
        ("speed-one",),
        SEVERAL,
    ),
    Check(
        "counts",
        "Evaluation by one device and by several",
        "each picture counted once, the same hits in every class",
        f"{ROOM}.training:counts",
        after=("train",),
        needs=SEVERAL,
    ),
    Check(
        "export",
        "Export as MINDIR and ONNX",
        "each file, read back, gives the network's outputs to 1e-4",
        f"{ROOM}.offline:exporting",
        after=("train",),
    ),
    Check(
        "convert",
        "Conversion for the CPU",
        "each model, run by the C++ program, gives the network's outputs to 1e-4",
        f"{ROOM}.offline:converting",
        after=("export",),
    ),
    Check(
        "card",
        "Conversion for the card, every prepared size",
        "on the chip, at batch 1, 4 and 8, the network's outputs to 0.02",
        f"{ROOM}.offline:converting_for_card",
        after=("export",),
        needs=CARD,
    ),
    Check(
        "card-aipp",
        "Conversion for the card with AIPP",
        "on the chip, from pixels, the network's outputs to 0.02",
        f"{ROOM}.offline:converting_for_card",
        ("aipp",),
        ("export",),
        CARD,
    ),
    Check(
        "sizes",
        "Offline inference at batch 1, 4 and 8",
        "the network's outputs: on the CPU to 1e-4, on a card to 0.02",
        f"{ROOM}.offline:sizes",
        after=("convert",),
    ),
    Check(
        "accuracy",
        "Accuracy of offline inference in C++",
        "glorext validate says pass: the accuracy of training, and MindSpore's answers",
        f"{ROOM}.offline:accuracy",
        after=("convert",),
    ),
    Check(
        "infer-speed",
        "Throughput and latency of offline inference",
        "every picture is answered",
        f"{ROOM}.offline:speed",
        after=("convert",),
    ),
)


def checks(job: Job) -> tuple[Check, ...]:
    """The checks of a job, in their order; each stands after those that it needs."""
    return tuple(_fitted(check, job) for check in TABLE)


def _fitted(check: Check, job: Job) -> Check:
    missing = {SEVERAL: job.devices < 2, CARD: job.target == "cpu", ONE: job.short and job.devices > 1}
    lacks = LACKS[check.needs] if missing.get(check.needs) else ""
    if job.short and check.name in LONG:
        lacks = lacks or "the short form leaves it out"
    after = check.after
    if job.target != "cpu":  # what runs on the card was converted for it
        after = tuple("card" if name == "convert" else name for name in after)
    if job.short and "speed-one" in after:
        after = ("prepare",)
    return replace(check, after=after, lacks=lacks)
