"""Training on the device by its commands: losses against the CPU's, kill and resume, learning, evaluation."""

from __future__ import annotations

import numpy as np

from glorext.deploy.acceptance.setting import DIGITS, FRESH, NETWORKS, THIN, TRAINED, arguments, flags
from glorext.deploy.acceptance.worker import Found, Job, command
from glorext.deploy.contract.closeness import EARLY_LOSS, EXPORTED, MEAN_LOSS
from glorext.hub.open_model import BEST
from glorext.models.answers import read_results
from glorext.models.evaluation import EVAL
from glorext.models.metrics import METRICS, read_epochs, read_metrics
from glorext.runtime import read_json
from glorext.train.verify_resume import verify_resume

STEPS, EARLY, BATCH, RESUMED = 20, 5, 8, 12
STEPS_LR = "0.005"  # of the warm-up's end, which 20 steps do not reach: at larger ones rounding grows from step to step
LEAST_TOP1 = 0.5  # of ten classes: far beyond guessing, far below what a longer training reaches


def losses(job: Job, network: str, device: str, level: str, number: int) -> list[float]:
    """The losses of STEPS steps of `glorext train` from the same fresh weights."""
    out = job.path / f"steps-{network}-{number}"
    words = [*flags(job, network, arguments(job, network)), "--pretrained", str(job.path / f"{network}{FRESH}")]
    words += ["--lr", STEPS_LR, "--batch_size", str(BATCH), "--amp_level", level]
    words += ["--stop_after", str(STEPS), "--out", str(out)]
    command(["-m", "glorext.train", *words, "--device", device, "--json"])
    return [event["loss"] for event in read_metrics(out / METRICS) if event["event"] == "step"]


def apart(found: np.ndarray, reference: np.ndarray) -> tuple[str, str, float]:
    """How far losses are from the reference's: in words, what misses its limit ("" for nothing), and their means."""
    if found.shape != reference.shape or len(found) != STEPS or not np.isfinite(found).all():
        return "", f"{np.isfinite(found).sum()} finite losses instead of {STEPS}", 0.0
    early = float((np.abs(found - reference) / reference)[:EARLY].max())
    mean = float(abs(found.mean() / reference.mean() - 1))
    text = f"{early:.1e} in the first {EARLY} steps, {mean:.1e} in the mean of {STEPS}"
    wrong = not (early <= EARLY_LOSS and mean <= MEAN_LOSS)
    return text, f"losses apart by {text}; at most {EARLY_LOSS:.0e} and {MEAN_LOSS:.0e} allowed" * wrong, mean


def steps(job: Job, network: str) -> Found:
    """The losses of 20 steps at O0, on a CPU the reference itself, and at O2 against those of the CPU at O0."""
    reference = np.array(losses(job, network, "CPU", "O0", 0))
    wrong, told, numbers = [], [], []
    for number, level in enumerate(("O2",) if job.device == "CPU" else ("O0", "O2"), 1):
        text, missed, mean = apart(np.array(losses(job, network, job.device, level, number)), reference)
        told.append(f"{level} {text}")
        wrong += [f"{level}: {missed}"] if missed else []
        numbers.append(job.number(f"{network} {level}, mean loss of {STEPS} steps, relatively apart", mean, ""))
    text = f"losses from {reference[0]:.3f} to {reference[-1]:.3f} on the CPU; relatively apart: {'; '.join(told)}"
    return Found(text, tuple(wrong), tuple(numbers))


def resume(job: Job) -> Found:
    """`glorext train --verify_resume`: killed and resumed, equal to the bit."""
    words = [*flags(job, NETWORKS[0], THIN), "--batch_size", str(BATCH), "--deterministic", "true"]
    verify_resume(words, RESUMED)
    return Found(f"{RESUMED} steps: weights, optimizer, losses equal to the bit after SIGKILL and --resume auto")


def train(job: Job) -> Found:
    """Train on the digits at the device's own precision, evaluated on those that were held out."""
    network_args = arguments(job, NETWORKS[0])
    words = [*flags(job, NETWORKS[0], network_args), "--val_dir", str(job.path / DIGITS / "val")]
    batch, epochs, rate = (32, 2, "0.1") if job.short else (16, 1, "0.02")
    words += ["--epochs", str(epochs), "--batch_size", str(batch), "--out", str(job.path / TRAINED)]
    words += ["--lr", rate, "--warmup_epochs", str(epochs - 1)]
    command(["-m", "glorext.train", *words, "--json"])
    top1 = read_json(job.path / TRAINED / EVAL)["top1"]
    wrong = [] if top1 >= LEAST_TOP1 else [f"top-1 {top1:.2%}, at least {LEAST_TOP1:.0%} demanded"]
    seen = [event["loss"] for event in read_metrics(job.path / TRAINED / METRICS) if event["event"] == "step"]
    if not seen[-1] < seen[0]:
        wrong.append(f"the loss rose from {seen[0]:.3f} to {seen[-1]:.3f}")
    name = f"{NETWORKS[0]}, digits 32x32, batch {batch}, training"
    speeds = [event["images_per_second"] for event in read_epochs(job.path / TRAINED / METRICS)]
    numbers = (
        job.number(f"{NETWORKS[0]}, digits, top-1 at the end of training", top1, ""),
        job.number(name, speeds[-1], "pictures/s"),
    )
    text = f"top-1 {top1:.2%} of 360 held-out digits after {epochs} epoch{'s' * (epochs > 1)}"
    return Found(text, tuple(wrong), numbers)


def counts(job: Job) -> Found:
    """`glorext eval` of the trained run on one device and on several: the same answers, each picture once."""
    shared = [str(job.path / TRAINED / BEST), "--data", str(job.path / DIGITS / "val"), "--device", job.device]
    started = {
        "one": ["-m", "glorext", "eval"],
        "several": ["-m", "glorext.train.launch", "--devices", str(job.devices), "--cluster_timeout", "120"]
        + ["--log_dir", str(job.path / "eval-logs"), "eval"],
    }
    for name, words in started.items():
        out = ["--out", str(job.path / f"eval-{name}.json"), "--results", str(job.path / f"eval-{name}")]
        command([*words, *shared, *out])
    one, several = (read_json(job.path / f"eval-{name}.json") for name in started)
    wrong = [
        f"{key} {several[key]} instead of {one[key]}"
        for key in ("count", "top1", "top5", "confusion")
        if one[key] != several[key]
    ]
    apart = np.abs(read_results(job.path / "eval-one").logits - read_results(job.path / "eval-several").logits).max()
    if not apart <= EXPORTED * 10:
        wrong.append(f"logits {apart:.1e} apart")
    text = (
        f"{one['count']} pictures, top-1 {one['top1']:.2%} by 1 and by {job.devices}, logits at most {apart:.1e} apart"
    )
    return Found(text, tuple(wrong))
