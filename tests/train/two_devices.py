"""What each process of test_distributed.py runs: 20 steps on its share of fixed data, then an exact evaluation.

With the batch norms' statistics fixed a picture's gradient does not depend on its neighbors, so two devices must do
what one does with twice the batch. (In ordinary training each device normalizes by its own batch: that part differs.)
"""

import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np

from glorext.models import InputSpec, create, save_checkpoint
from glorext.runtime import write_json
from glorext.train.data import list_pictures
from glorext.train.distributed import join_group
from glorext.train.pictures import shard
from glorext.train.recipe import Recipe
from glorext.train.scoring import forward_of, predictions, score
from glorext.train.step import TrainStep

STEPS, BATCH, CLASSES = 20, 8, 2
SMALL = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8, "num_classes": CLASSES}


def run(out: Path, pictures: Path) -> None:
    group = join_group("CPU")[1]
    generator = np.random.default_rng(0)
    images = generator.normal(size=(STEPS * BATCH, 3, 16, 16)).astype(np.float32)
    targets = generator.integers(0, CLASSES, STEPS * BATCH).astype(np.int32)
    ms.set_seed(1)
    net = create("resnext50", **SMALL)
    for parameter in net.get_parameters():  # gamma starts as zero in each block's last batch norm: let all parts learn
        if parameter.name.endswith("bn3.gamma"):
            parameter.set_data(ms.Tensor(np.full(parameter.shape, 0.5, np.float32)))
    net.set_train(False)
    step = TrainStep(
        net, net.trainable_params(), Recipe(), np.full(STEPS, 0.05, np.float32), CLASSES, group_size=group.size
    )
    mine, size = shard(np.arange(STEPS * BATCH), BATCH // group.size, group.rank, group.size), BATCH // group.size
    losses = [step(ms.Tensor(images[rows]), ms.Tensor(targets[rows]))[0] for rows in mine.reshape(STEPS, size)]
    statistics = next(p for p in net.get_parameters() if p.name.endswith("moving_mean"))
    ms.ops.assign(statistics, ms.Tensor(np.full(statistics.shape, group.rank, np.float32)))
    group.average_statistics(net.get_parameters())
    mean = float(statistics.asnumpy()[0])
    ms.ops.assign(statistics, ms.Tensor(np.zeros(statistics.shape, np.float32)))

    if group.is_writer:
        time.sleep(0.5)
        (out / "late").touch()
    asked = group.any(group.is_writer)
    waited = group.sum(np.array([asked and (out / "late").exists()], int))[0] == group.size

    tree = list_pictures(pictures)
    answers = predictions(forward_of(net), tree, InputSpec(size=16, resize=16), 4, 1, group)
    scores = score(answers, tree, group)
    if group.is_writer:
        save_checkpoint(net, out / "weights.ckpt")
        write_json(
            out / "found.json",
            {
                "losses": losses,
                "hits": [scores.hits1, scores.hits5, scores.count],
                "answers": scores.answers.tolist(),
                "confidences": scores.confidences.tolist(),
                "mean": mean,
                "waited": bool(waited),
            },
        )


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
