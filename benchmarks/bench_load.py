"""Claim: create("resnext50") filled from a local checkpoint takes under 2 s beyond `import mindspore`.

    python benchmarks/bench_load.py [--rounds 5] [--peer_python PYTHON]

Each round is a fresh process. The peer in the same run is torchvision, which makes its resnext50_32x4d and loads the
same weights, from a file with its own names; `--peer_python` names a Python that has it, if this one has not.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
import sys, time
from glorext.runtime import cap_onednn
cap_onednn()
import mindspore
start = time.perf_counter()
import glorext.models
net = glorext.models.create("resnext50", checkpoint=sys.argv[1])
print(time.perf_counter() - start)
"""
EAGER = """
import sys, time
from glorext.runtime import cap_onednn
cap_onednn()
import mindspore
start = time.perf_counter()
import glorext.models
net = glorext.models.create("resnext50")
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
import sys
from glorext.models import create, save_checkpoint
net = create("resnext50")
save_checkpoint(net, sys.argv[1] + "/own.ckpt")
save_checkpoint(net, sys.argv[1] + "/own.safetensors")
save_checkpoint(net, sys.argv[1] + "/split.ckpt", naming="split")
save_checkpoint(net, sys.argv[1] + "/torchvision.safetensors", naming="torchvision")
"""


def run(python: str, script: str, *arguments) -> str:
    """What `script` prints in a fresh process."""
    return subprocess.run(
        [python, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
    ).stdout


def has_peer(python: str) -> bool:
    """Whether that Python has torchvision and safetensors."""
    return (
        subprocess.run(
            [python, "-c", "import torchvision, safetensors.torch"], capture_output=True, check=False
        ).returncode
        == 0
    )


def main() -> None:
    """Measure in turns and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer_python", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(sys.executable, WRITE, folder)
        cases = {
            "glorext, .ckpt": (sys.executable, OURS, "own.ckpt"),
            "glorext, .safetensors": (sys.executable, OURS, "own.safetensors"),
            "glorext, split .ckpt (512 tensors merged)": (sys.executable, OURS, "split.ckpt"),
            "glorext, torchvision's names": (sys.executable, OURS, "torchvision.safetensors"),
            "MindSpore alone: initialize, then load": (sys.executable, EAGER, "own.ckpt"),
        }
        if has_peer(options.peer_python):
            cases["torchvision, the same weights"] = (options.peer_python, PEER, "torchvision.safetensors")
        rows: dict[str, list[float]] = {title: [] for title in cases}
        for _ in range(options.rounds):
            for title, (python, script, file) in cases.items():
                rows[title].append(float(run(python, script, folder / file).split()[-1]))
    print(
        f"resnext50 made and filled, beyond importing the framework; {options.rounds} fresh processes each, "
        f"in turns, {os.cpu_count()} cores"
    )
    print("| what | median s | fastest s | slowest s |\n| --- | --- | --- | --- |")
    for title, seconds in rows.items():
        print(f"| {title} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |")
    if len(rows) == 5:
        print("torchvision: not measured, it is not installed here; see --peer_python")


if __name__ == "__main__":
    main()
