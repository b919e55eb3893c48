"""glorext's side of the training benchmark: train_mindspore.py FOLDER NETWORK PER_ROUND CORES JIT_LEVEL."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

folder, cores = Path(sys.argv[1]), [int(core) for core in sys.argv[4].split(",")]
os.sched_setaffinity(0, cores)  # before MindSpore counts them
from glorext.runtime import set_device  # noqa: E402

set_device("CPU")
import mindspore as ms  # noqa: E402
from train_rounds import serve  # noqa: E402

from glorext.models import create  # noqa: E402
from glorext.train.recipe import Recipe  # noqa: E402
from glorext.train.step import TrainStep  # noqa: E402

classes = int(np.load(folder / "classes.npy"))
net = create(sys.argv[2], **json.loads((folder / "network.json").read_text()), num_classes=classes)
start = np.load(folder / "start.npz")
for parameter in net.get_parameters():
    parameter.set_data(ms.Tensor(start[parameter.name]))
net.set_train(True)
level: Any = sys.argv[5]
recipe = Recipe(label_smooth=False, momentum=0.9, weight_decay=1e-4, jit_level=level)
train = TrainStep(net, net.trainable_params(), recipe, np.full(1000, 0.001, np.float32), classes)
serve(folder, int(sys.argv[3]), cores, lambda x, y: (ms.Tensor(x), ms.Tensor(y)), lambda x, y: train(x, y)[0])
