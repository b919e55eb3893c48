"""Claim: a registry of 100,000 packages costs a load under 1 s and 100 MB, and a publish under 2 s.

    python benchmarks/bench_index.py [--packages 100000] [--rounds 3]

The registry's packages are entries of its index but for one, which is what is fetched and what a publish adds. Beside
the divided index stands the same one as a single file, as it was before: the same program reads both. Each number is
that of a fresh process; memory is the most it held, beyond what it holds once glorext is imported. `find` is what
`load` does before MindSpore makes the network: the index, the manifest, the labels, from a folder and from a server.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_download import make_registry, served
from measured import Row, hand_over, network_args, options

FIND = """
import pathlib, re, sys, time
import glorext.hub.find, glorext.hub.download, glorext.hub.publish, glorext.hub.pack
import requests, filelock, numpy
used = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
before, start = used(), time.perf_counter()
glorext.hub.find.find_model("bench", wanted=glorext.hub.find.IDENTITY)
print(time.perf_counter() - start, used() - before)
"""
PUBLISH = FIND.replace(
    'glorext.hub.find.find_model("bench", wanted=glorext.hub.find.IDENTITY)',
    "glorext.hub.publish.publish(sys.argv[1], sys.argv[2])",
)


def fill(registry: Path, count: int, divided: bool) -> None:
    """List `count` packages in the registry, in many files or in one."""
    from glorext.hub import index as index_module
    from glorext.runtime import json_bytes

    content = json.loads((registry / "index.json").read_bytes())
    (release,) = content["packages"]["bench"].values()
    content["packages"] |= {f"package-{number:06}": {"1.0.0": release} for number in range(count - 1)}
    if divided:
        index_module.write_index(registry, content)
    else:
        (registry / "index.json").write_bytes(json_bytes(content))


def measured(script: str, *arguments, **env) -> tuple[float, float]:
    """Seconds and MB that a fresh process needs."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {key: str(value) for key, value in env.items()},
    )
    seconds, megabytes = done.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def rows_of(folder: Path, registry: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """What is measured with one registry."""
    found: dict[str, list[tuple[float, float]]] = {}
    with served(registry.parent, registry.name) as url:
        for number in range(rounds):
            cache = folder / f"cache-{registry.name}-{number}"
            for what, place in (("find, folder", registry), ("find, server", url), ("find, server, again", url)):
                found.setdefault(what, []).append(measured(FIND, GLOREXT_CACHE=cache, GLOREXT_REGISTRIES=place))
            again = folder / f"again-{registry.name}-{number}"
            shutil.copytree(registry, again)
            shutil.rmtree(again / "packages")
            content = again / "index.json"
            if "bench" in content.read_text():  # one file
                kept = json.loads(content.read_bytes())
                kept["packages"].pop("bench")
                content.write_text(json.dumps(kept))
            else:
                for part in (again / "index").iterdir():
                    kept = json.loads(part.read_bytes())
                    if kept["packages"].pop("bench", None):
                        part.write_text(json.dumps(kept))
            found.setdefault("publish", []).append(measured(PUBLISH, folder / "package", again, GLOREXT_CACHE=cache))
            shutil.rmtree(again)
    return found


def main() -> None:
    """Measure both kinds and print one table."""
    parser = options(__doc__)
    parser.add_argument("--packages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.packages, arguments.rounds = 1500, 1  # as many as are divided
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_registry(folder, **network_args(arguments))
        shutil.copytree(folder / "registry", folder / "whole")
        fill(folder / "registry", arguments.packages, divided=True)
        fill(folder / "whole", arguments.packages, divided=False)
        divided = rows_of(folder, folder / "registry", arguments.rounds)
        whole = rows_of(folder, folder / "whole", arguments.rounds)
    print(f"{arguments.packages:,} packages, median of {arguments.rounds} processes\n")
    print("| what | divided: s | MB | one file: s | MB | ratio of times |\n|---|---|---|---|---|---|")
    for what in divided:
        cells = [statistics.median(values) for found in (divided, whole) for values in zip(*found[what])]
        print("| {} | {:.2f} | {:.0f} | {:.2f} | {:.0f} | {:.3f} |".format(what, *cells, cells[0] / cells[2]))
        rows.append(Row(what, "s", cells[0], "the index as one file", cells[2]))
        rows.append(Row(f"{what}, memory", "MB", cells[1], "the index as one file", cells[3]))
    hand_over(arguments, __doc__, rows)


if __name__ == "__main__":
    main()
