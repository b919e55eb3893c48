"""Claim: create("resnext50") filled from a local checkpoint takes under 2 s beyond `import mindspore`.

    python benchmarks/bench_load.py [--rounds 5] [--peer_python PYTHON]

Each round is a fresh process. The peer in the same run is torchvision, which makes its resnext50_32x4d and loads the
same weights, from a file with its own names; `--peer_python` names a Python that has it, if this one has not.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import Row, hand_over, network_args, options, peer_of

OURS = """
import json, sys, time
from glorext.runtime import cap_onednn
cap_onednn()
import mindspore
start = time.perf_counter()
import glorext.models
net = glorext.models.create("resnext50", checkpoint=sys.argv[1], **json.loads(sys.argv[2]))
print(time.perf_counter() - start)
"""
EAGER = """
import json, sys, time
from glorext.runtime import cap_onednn
cap_onednn()
import mindspore
start = time.perf_counter()
import glorext.models
net = glorext.models.create("resnext50", **json.loads(sys.argv[2]))
mindspore.load_param_into_net(net, mindspore.load_checkpoint(sys.argv[1]))
print(time.perf_counter() - start)
"""
PEER = """
import sys, time
import torch, torchvision, safetensors.torch
start = time.perf_counter()
net = torchvision.models.resnext50_32x4d(weights=None)
net.load_state_dict(safetensors.torch.load_file(sys.argv[1]), strict=True)
print(time.perf_counter() - start)
"""
WRITE = """
import json, sys
from glorext.models import create, save_checkpoint
arguments = json.loads(sys.argv[2])
net = create("resnext50", **arguments)
save_checkpoint(net, sys.argv[1] + "/own.ckpt")
save_checkpoint(net, sys.argv[1] + "/own.safetensors")
save_checkpoint(net, sys.argv[1] + "/split.ckpt", naming="split", groups=arguments.get("groups", 32))
save_checkpoint(net, sys.argv[1] + "/torchvision.safetensors", naming="torchvision")
"""


def run(python: str, script: str, *arguments) -> str:
    """What `script` prints in a fresh process."""
    return subprocess.run(
        [python, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def main() -> None:
    """Measure in turns and print one table."""
    parser = options(__doc__, peer=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds, network = 1 if arguments.smoke else arguments.rounds, json.dumps(network_args(arguments))
    peer = peer_of(arguments, "torchvision")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(sys.executable, WRITE, folder, network)
        cases = {
            "glorext, .ckpt": (sys.executable, OURS, "own.ckpt"),
            "MindSpore alone: initialize, then load": (sys.executable, EAGER, "own.ckpt"),
        }
        if not arguments.smoke:
            cases |= {
                "glorext, .safetensors": (sys.executable, OURS, "own.safetensors"),
                "glorext, split .ckpt (512 tensors merged)": (sys.executable, OURS, "split.ckpt"),
                "glorext, torchvision's names": (sys.executable, OURS, "torchvision.safetensors"),
            }
        if peer:
            cases["torchvision, the same weights"] = (arguments.peer_python, PEER, "torchvision.safetensors")
        found: dict[str, list[float]] = {title: [] for title in cases}
        for _ in range(rounds):
            for title, (python, script, file) in cases.items():
                found[title].append(float(run(python, script, folder / file, network).split()[-1]))
    print(
        f"resnext50 made and filled, beyond importing the framework; {rounds} fresh processes each, in turns, "
        f"{os.cpu_count()} cores"
    )
    print("| what | median s | fastest s | slowest s |\n| --- | --- | --- | --- |")
    for title, seconds in found.items():
        print(f"| {title} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |")
    middle = {title: statistics.median(seconds) for title, seconds in found.items()}
    ours, alone = middle["glorext, .ckpt"], middle["MindSpore alone: initialize, then load"]
    rows = [Row("make and fill", "s", ours, "MindSpore alone", alone)]
    if peer:
        rows.append(Row("make and fill, by torchvision", "s", ours, peer, middle["torchvision, the same weights"]))
    else:
        print("torchvision: not measured, it is not installed here; see --peer_python")
    hand_over(arguments, __doc__, rows)


if __name__ == "__main__":
    main()
