"""The table of checks: what is demanded, what does it, what it needs before."""

from __future__ import annotations

from dataclasses import dataclass

from glorext.deploy.acceptance.worker import Job

ROOM = "glorext.deploy.acceptance"


@dataclass(frozen=True)
class Check:
    """One row to be.

    Attributes:
        name, title, demanded: see `Row`.
        place, words: "module:function" that does it, which takes a Job and the words and gives a Found.
        after: rows that must have passed.
        lacks: what is not here that it needs, such as a card.
    """

    name: str
    title: str
    demanded: str
    place: str
    words: tuple[str, ...] = ()
    after: tuple[str, ...] = ("prepare",)
    lacks: str = ""


def checks(job: Job) -> tuple[Check, ...]:
    """The checks of a job, in their order; each stands after those that it needs."""
    several = f"{max(job.devices, 2)} devices"
    networks = (("resnext50", "ResNeXt50"), ("glore_res50", "GloRe-ResNet50"))
    converted = ("convert",) if job.target == "cpu" else ("card",)
    no_card = "no Ascend card on this machine" if job.target == "cpu" else ""
    alone = "one device here, and this takes two" if job.devices < 2 else ""
    brief = "in the short form only where there is one device" if job.short and not alone else ""
    return (
        Check(
            "device",
            "The device answers",
            "a product of two matrices is right to the bit",
            f"{ROOM}.networks:answers",
            after=(),
        ),
        Check(
            "prepare",
            "Pictures and networks are made",
            "both networks give finite logits on the CPU",
            f"{ROOM}.networks:prepare",
            after=("device",),
        ),
        *(
            Check(
                f"forward-{name}",
                f"{title}: forward at each precision",
                "logits of the CPU's float32, to 1e-4 on a CPU; to 0.06 where layers compute in half precision, 0.5 in "
                "bfloat16; no clear answer changed",
                f"{ROOM}.networks:forward",
                (name,),
            )
            for name, title in networks
        ),
        *(
            Check(
                f"steps-{name}",
                f"{title}: 20 training steps at O0 and O2",
                "losses of the CPU at O0: each of the first five to 1 %, the mean of all to 5 %; on a CPU O0 to 0.01 %",
                f"{ROOM}.training:steps",
                (name,),
            )
            for name, title in networks[: 1 if job.short else 2]
        ),
        Check(
            "overflow-one",
            "A forced overflow on one device",
            "the step is left out, the loss scale halved, the next one goes on",
            f"{ROOM}.ranks:overflow",
            ("1",),
            lacks=brief,
        ),
        Check(
            "overflow-ranks",
            "A forced overflow on one of two ranks",
            "every rank leaves out that step and no other; equal scales and weights",
            f"{ROOM}.ranks:overflow",
            ("several",),
            lacks=alone,
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
            "after 2 epochs of digits top-1 of at least 50 %, a falling loss",
            f"{ROOM}.training:train",
        ),
        Check("speed-one", "Training speed of one device", "finite losses", f"{ROOM}.ranks:speed", ("1",), lacks=brief),
        Check(
            "speed-several",
            f"Training on {several}",
            "equal weights on all ranks at the end",
            f"{ROOM}.ranks:speed",
            ("several",),
            ("prepare",) if job.short else ("speed-one",),
            alone,
        ),
        Check(
            "counts",
            f"Evaluation by one and by {several}",
            "each picture counted once, the same hits in every class",
            f"{ROOM}.training:counts",
            after=("train",),
            lacks=alone,
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
            lacks=no_card,
        ),
        Check(
            "card-aipp",
            "Conversion for the card with AIPP",
            "on the chip, from pixels, the network's outputs to 0.02",
            f"{ROOM}.offline:converting_for_card",
            ("aipp",),
            ("export",),
            no_card,
        ),
        Check(
            "sizes",
            "Offline inference at batch 1, 4 and 8",
            "the network's outputs: on the CPU to 1e-4, on a card to 0.02",
            f"{ROOM}.offline:sizes",
            after=converted,
        ),
        Check(
            "accuracy",
            "Accuracy of offline inference in C++",
            "`glorext validate --reference` says pass: the accuracy of training and MindSpore's answers",
            f"{ROOM}.offline:accuracy",
            after=converted,
        ),
        Check(
            "infer-speed",
            "Throughput and latency of offline inference",
            "every picture is answered",
            f"{ROOM}.offline:speed",
            after=converted,
        ),
    )
