"""What the checks share: the two networks, how small they are, pictures, and the flags of a training."""

from __future__ import annotations

from glorext.deploy.acceptance.worker import Job
from glorext.runtime import json_bytes

NETWORKS = ("resnext50", "glore_res50")
# What the checks leave for each other in the job's folder.
DIGITS, PICTURES, FRESH, TRAINED = "digits", "pictures", "-fresh", "trained"
CLASSES = tuple("0123456789")
# The arguments of the short form: all layers of each kind, few of them and thin.
SMALL = {
    "resnext50": {"layers": [1, 1, 1, 1], "groups": 4, "width_per_group": 4, "stem_width": 16},
    "glore_res50": {"layers": [1, 1, 2, 1], "units": [[], [], [1], []], "stem_width": 8},
}
# What rows take whose code is the same for all networks.
THIN = SMALL[NETWORKS[0]]


def arguments(job: Job, network: str) -> dict:
    """What the network of the job differs in from the registered one."""
    return SMALL[network] if job.short else {}


def flags(job: Job, network: str, network_args: dict) -> list[str]:
    """What all trainings share: the recipe of the digits on the job's device."""
    words = ["--recipe", "digits", "--network", network, "--network_args", json_bytes(network_args).decode()]
    return [*words, "--data", str(job.path / DIGITS / "train"), "--device", job.device]


def size_of(job: Job) -> tuple[int, int]:
    """Side and number of the pictures of a measured step: on a card as it is used, on a CPU so that it ends."""
    if job.short:
        return 32, 8
    return (64, 8) if job.device == "CPU" else (224, 32)
