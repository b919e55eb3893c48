"""Claim: training resnext50 gives PyTorch's losses step by step; the table shows both throughputs.

    python benchmarks/bench_train.py --data_dir CIFAR/train [--steps 10] [--batch 32] [--size 32] [--peer_python PYTHON]
    python benchmarks/bench_train.py --size 224 --batch 8 [--network glore_res50]

Both start from the same weights and see the same batches in the same order, float32, no augmentation, Momentum 0.9,
weight decay 1e-4, label smoothing off. Without --data_dir the pictures are noise and only the speed means something.
`--peer_python` names a Python with torch, torchvision and safetensors, if this one has them not.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
import json, sys, time
import numpy as np
folder, network, jit_level = sys.argv[1:4]
from glorext.runtime import set_device
set_device("CPU")
import mindspore as ms
from glorext.models import create
from glorext.train.recipe import Recipe
from glorext.train.step import TrainStep
images, targets = np.load(folder + "/images.npy"), np.load(folder + "/targets.npy")
classes = int(np.load(folder + "/classes.npy"))
checkpoint = folder + "/start.safetensors"
net = create(network, checkpoint=checkpoint, num_classes=classes)
net.set_train(True)
recipe = Recipe(label_smooth=False, jit_level=jit_level)
step = TrainStep(net, net.trainable_params(), recipe, np.full(len(images), 0.01, np.float32), classes)
losses, seconds = [], []
for image, target in zip(images, targets):
    image, target = ms.Tensor(image), ms.Tensor(target)
    start = time.perf_counter()
    losses.append(step(image, target)[0])
    seconds.append(time.perf_counter() - start)
print(json.dumps([losses, seconds]))
"""
PEER = """
import json, sys, time
import numpy as np, torch, torchvision, safetensors.torch
folder = sys.argv[1]
images, targets = np.load(folder + "/images.npy"), np.load(folder + "/targets.npy")
net = torchvision.models.resnext50_32x4d(num_classes=int(np.load(folder + "/classes.npy")))
net.load_state_dict(safetensors.torch.load_file(folder + "/start.safetensors"), strict=False)
groups = [{"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 1e-4},
          {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0}]
optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
losses, seconds = [], []
for image, target in zip(images, targets):
    image, target = torch.from_numpy(image), torch.from_numpy(target).long()
    start = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(net(image), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    seconds.append(time.perf_counter() - start)
print(json.dumps([losses, seconds]))
"""
PREPARE = """
import sys
import numpy as np
folder, network, data, steps, batch, size = sys.argv[1:7]
steps, batch, size = int(steps), int(batch), int(size)
import mindspore as ms
from glorext.models import InputSpec, create, save_checkpoint
from glorext.train.data import batches, epoch_order, evaluation_steps, list_pictures
if data:
    pictures = list_pictures(data)
    classes = len(pictures.labels)
    order = epoch_order(len(pictures), 1, 0)[:steps * batch]
    pipeline = batches(pictures.source(order), evaluation_steps(InputSpec(size=size, resize=size)), batch, 1)
    images, targets = map(np.stack, zip(*pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)))
else:
    classes, generator = 1000, np.random.default_rng(0)
    images = generator.normal(size=(steps, batch, 3, size, size)).astype(np.float32)
    targets = generator.integers(0, classes, (steps, batch)).astype(np.int32)
ms.set_seed(1)
extra = {"stem_pool": "torch"} if network == "resnext50" else {}
net = create(network, num_classes=classes, **extra)
save_checkpoint(net, folder + "/start.safetensors", **({"layout": "torchvision"} if extra else {}))
for name, array in (("images", images), ("targets", targets), ("classes", np.array(classes))):
    np.save(f"{folder}/{name}.npy", array)
"""


def run(python: str, script: str, *arguments) -> str:
    """What `script` prints last in a fresh process."""
    done = subprocess.run([python, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return (done.stdout.strip().splitlines() or [""])[-1]


def has_peer(python: str) -> bool:
    """Whether that Python has torchvision and safetensors."""
    return subprocess.run([python, "-c", "import torchvision, safetensors.torch"], capture_output=True,
                          check=False).returncode == 0


def main() -> None:
    """Measure both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", default="", help="pictures, FOLDER/<class>/<file>")
    parser.add_argument("--network", default="resnext50")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--jit_levels", default="O0,O1")
    parser.add_argument("--peer_python", default=sys.executable)
    arguments = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, PREPARE, folder, arguments.network, arguments.data_dir and Path(arguments.data_dir).resolve(),
            arguments.steps, arguments.batch, arguments.size)
        for level in arguments.jit_levels.split(","):
            rows[f"MindSpore, jit {level}"] = json.loads(run(sys.executable, OURS, folder, arguments.network, level))
        compared = arguments.network == "resnext50" and has_peer(arguments.peer_python)
        if compared:
            rows["PyTorch"] = json.loads(run(arguments.peer_python, PEER, folder))
    first = next(iter(rows.values()))[0]
    print(f"{arguments.network}, {arguments.steps} steps of {arguments.batch} pictures of {arguments.size}x{arguments.size}\n")
    print("| framework | s/step | pictures/s | first loss | last loss | largest relative gap of losses |")
    print("|---|---|---|---|---|---|")
    for name, (losses, seconds) in rows.items():
        step = statistics.median(seconds[1:])  # the first step compiles
        gap = max(abs(a - b) / abs(b) for a, b in zip(first, losses))
        print(f"| {name} | {step:.3f} | {arguments.batch / step:.1f} | {losses[0]:.6f} | {losses[-1]:.6f} | {gap:.1e} |")
    if not compared:
        print("\nnot compared with PyTorch: " + ("torchvision has no such network" if arguments.network != "resnext50"
                                                 else "torch, torchvision and safetensors are not installed"))


if __name__ == "__main__":
    main()
