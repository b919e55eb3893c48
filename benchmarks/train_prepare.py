"""Start weights and batches of the training benchmark: train_prepare.py FOLDER NETWORK STEPS BATCH SIZE [PICTURES].

FOLDER/network.json has arguments of the network's constructor.
"""

import json
import sys
from pathlib import Path

import numpy as np

from glorext.runtime import set_device

folder, network, (steps, batch, size) = Path(sys.argv[1]), sys.argv[2], map(int, sys.argv[3:6])
set_device("CPU")
import mindspore as ms  # noqa: E402

from glorext.models import InputSpec, create  # noqa: E402
from glorext.train.data import batches, evaluation_steps, list_pictures  # noqa: E402
from glorext.train.pictures import epoch_order  # noqa: E402

if len(sys.argv) > 6:
    pictures = list_pictures(sys.argv[6])
    classes = len(pictures.labels)
    order = epoch_order(len(pictures), 1, 0)[: steps * batch]
    pipeline = batches(pictures.source(order), evaluation_steps(InputSpec(size=size, resize=size)), batch, 1)
    images, targets = map(np.stack, zip(*pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)))
else:
    classes, generator = 1000, np.random.default_rng(0)
    images = generator.normal(size=(steps, batch, 3, size, size)).astype(np.float32)
    targets = generator.integers(0, classes, (steps, batch)).astype(np.int32)
ms.set_seed(1)
net = create(network, **json.loads((folder / "network.json").read_text()), num_classes=classes)
np.savez(folder / "start.npz", **{p.name: p.asnumpy() for p in net.get_parameters()})
for name, array in (("images", images), ("targets", targets), ("classes", np.array(classes))):
    np.save(folder / f"{name}.npy", array)
