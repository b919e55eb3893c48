"""Claim: mindspore_hub.load of a cached 100 MB package takes under 2 s beyond `import mindspore`.

    python benchmarks/bench_warm_load.py [--rounds 5]

Each round is a fresh process without network. The package's 100 MB are hashed, the network is made and filled. The
peer in the same run is the least that MindSpore alone needs: make the network, load_checkpoint, load_param_into_net.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_download import make_registry, served
from measured import Row, hand_over, network_args, options

START = """
import json, sys, time
from glorext.runtime import cap_onednn
cap_onednn()
import mindspore as ms
start = time.perf_counter()
"""
OURS = (
    START
    + """
import mindspore_hub
net = mindspore_hub.load("bench")
print(time.perf_counter() - start)
"""
)
PEER = (
    START
    + """
from glorext.models.resnext import ResNeXt
net = ResNeXt(**json.loads(sys.argv[2]))
ms.load_param_into_net(net, ms.load_checkpoint(sys.argv[1]))
print(time.perf_counter() - start)
"""
)


def timed(script: str, *arguments, **env) -> float:
    """Seconds that `script` prints, run in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **{key: str(value) for key, value in env.items()}},
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure in turns and print one table."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds, network = 1 if arguments.smoke else arguments.rounds, network_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_registry(folder, **network)
        size = (folder / "weights").stat().st_size
        with served(folder) as url:
            environment = {"GLOREXT_CACHE": folder / "cache", "GLOREXT_REGISTRIES": url}
            timed(OURS, **environment)
        environment["GLOREXT_OFFLINE"] = 1
        found: dict[str, list[float]] = {"mindspore_hub.load, hashed": [], "MindSpore alone, not hashed": []}
        for _ in range(rounds):
            found["mindspore_hub.load, hashed"].append(timed(OURS, **environment))
            found["MindSpore alone, not hashed"].append(
                timed(PEER, folder / "package" / "bench.ckpt", json.dumps(network))
            )
    print(
        f"{size / 1e6:.1f} MB, warm, beyond `import mindspore`; {rounds} fresh processes each, in turns, "
        f"{os.cpu_count()} cores"
    )
    print("| what | median s | fastest s | slowest s |\n| --- | --- | --- | --- |")
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |")
    ours, alone = (statistics.median(seconds) for seconds in found.values())
    hand_over(arguments, __doc__, [Row("load from the cache", "s", ours, "MindSpore alone, not hashed", alone)])


if __name__ == "__main__":
    main()
