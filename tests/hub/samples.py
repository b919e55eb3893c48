"""What the sample run of these tests consists of."""

from dataclasses import asdict

import numpy as np

from glorext import models
from glorext.hub.pack import Details
from glorext.models.calibration import calibration
from glorext.models.labels import labels_bytes
from glorext.models.per_class import class_scores, most_confused
from glorext.models.trained import Identity
from glorext.runtime import sha256_bytes

LABELS = [f"class {index}" for index in range(10)]
ARGUMENTS = {"layers": [1, 1, 1, 1], "groups": 4, "width_per_group": 2, "stem_width": 8}
SPEC = {"size": 32, "resize": 32}
DETAILS = Details("tiny-digits", "1.0.0", author="glorext", date="2026-01-02", license="Apache-2.0")


def identity(run, **changes) -> Identity:
    """What the run's best checkpoint is, as training writes it down."""
    values = {
        "name": "run",
        "version": None,
        "network": "resnext50",
        "network_args": ARGUMENTS,
        "num_classes": 10,
        "input_spec": models.InputSpec(**SPEC),
        "labels_sha256": sha256_bytes(labels_bytes(LABELS)),
        "weights_sha256": models.weights_digest(run / "best.ckpt"),
        "license": None,
    }
    return Identity(**(values | changes))


def evaluation(run, **changes) -> dict:
    """An eval.json as `glorext eval` writes it for this run; 100 pictures, 98 right."""
    confusion = [[10 if row == column else 0 for column in range(10)] for row in range(10)]
    confusion[3][3], confusion[3][5], confusion[8][8], confusion[8][1] = 9, 1, 9, 1
    answers = [answer for row in confusion for answer, count in enumerate(row) for _ in range(count)]
    truths, answers = np.repeat(np.arange(10), 10), np.array(answers)
    return {
        "schema": "glorext.eval/1",
        "top1": 0.98,
        "top5": 1.0,
        "count": 100,
        "network": "resnext50",
        "weights_sha256": models.weights_digest(run / "best.ckpt"),
        "preprocessing_sha256": models.InputSpec(**SPEC).digest(),
        "labels_sha256": sha256_bytes(labels_bytes(LABELS)),
        "device": "CPU",
        "precision": "O0",
        "versions": {"mindspore": "2.10.0", "numpy": "1.26.4"},
        "confusion": confusion,
        "classes": list(map(asdict, class_scores(truths, answers, LABELS))),
        "confused": list(map(asdict, most_confused(truths, answers, LABELS))),
        "calibration": asdict(calibration(np.full(100, 0.9, np.float32), truths == answers)),
        "data": {"folder": "val", "count": 100, "sha256": "0" * 64},
    } | changes
