"""torchvision's side of the benchmark of input pipelines: input_peers.py FOLDER SETTINGS.

Prints a line of JSON: pictures per second of processor time, all threads counted, by pipeline. The first of two passes
warms up.
"""

import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms as t

folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
torch.set_num_threads(1)
finish = [t.ToTensor(), t.Normalize(settings["mean"], settings["std"])]
CHAINS = {
    "eval": [t.Resize((settings["resize"],) * 2), t.CenterCrop(settings["size"]), *finish],
    "train": [t.RandomResizedCrop(settings["size"]), t.RandomHorizontalFlip(), t.ColorJitter(0.4, 0.4, 0.4), *finish],
}
paths = sorted(path for path in folder.rglob("*") if path.is_file())
rates = {}
for name, chain in CHAINS.items():
    composed = t.Compose(chain)
    for _ in range(2):
        start = time.process_time()
        for path in paths:
            composed(Image.open(path).convert("RGB"))
        rates[name] = len(paths) / (time.process_time() - start)
print(json.dumps(rates))
