"""PyTorch's side of the training benchmark: train_pytorch.py FOLDER NETWORK PER_ROUND CORES (commas between)."""

import sys
from pathlib import Path

import numpy as np
import torch
from train_pytorch_networks import NETWORKS, load
from train_rounds import serve

folder, cores = Path(sys.argv[1]), [int(core) for core in sys.argv[4].split(",")]
torch.set_num_threads(len(cores))
weights = dict(np.load(folder / "start.npz"))
net = NETWORKS[sys.argv[2]](int(np.load(folder / "classes.npy")))
load(net, weights)
net.train()
optimizer = torch.optim.SGD(
    [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 1e-4},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ],
    lr=0.001,
    momentum=0.9,
)


def step(images, targets):
    loss = torch.nn.functional.cross_entropy(net(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


serve(folder, int(sys.argv[3]), cores, lambda x, y: (torch.from_numpy(x), torch.from_numpy(y).long()), step)
