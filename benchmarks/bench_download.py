"""Claim: a cold download is at least 0.9 times as fast as huggingface_hub's of the same file from the same server.

    python benchmarks/bench_download.py [--rounds 7] [--peer_python PYTHON]

Both sides fetch one checkpoint from one server on the loopback into an empty cache, in turns, through their public
calls: glorext.hub.resolve of a package, huggingface_hub.hf_hub_download of a repository's file. Ours hashes every byte
while it streams; huggingface_hub does not. `--peer_python` names a Python that has it, if
this one has not.
"""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measured import Row, hand_over, network_args, options, peer_of

SERVER = """
import sys
from aiohttp import web
root = sys.argv[1]
async def answer(request):
    path = request.match_info["path"]
    if path.startswith("someone/"):  # the addresses and headers that huggingface_hub asks for
        response = web.FileResponse(f"{root}/weights", headers={
            "X-Repo-Commit": "0" * 40, "ETag": '"weights"', "Accept-Ranges": "bytes"})
        return response
    return web.FileResponse(f"{root}/{sys.argv[3]}/{path}")
app = web.Application()
app.router.add_get("/{path:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
"""
OURS = """
import time
from glorext.hub import resolve
import glorext.hub.cache, glorext.hub.registry, requests, tqdm, filelock
start = time.perf_counter()
resolve("bench")
print(time.perf_counter() - start)
"""
THEIRS = """
import time
import huggingface_hub
huggingface_hub.hf_hub_download
start = time.perf_counter()
huggingface_hub.hf_hub_download("someone/bench", "weights")
print(time.perf_counter() - start)
"""


def make_registry(folder: Path, **network_args) -> None:
    """A registry with one package, ResNeXt50 with random weights, and the same checkpoint alone for the peer."""
    from glorext import models
    from glorext.hub.open_model import open_model
    from glorext.hub.pack import Details, pack
    from glorext.hub.publish import publish

    models.save_checkpoint(models.create("resnext50", **network_args), folder / "random.ckpt")
    (folder / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    model = open_model(folder / "random.ckpt", labels=folder / "labels.txt")
    pack(model, folder / "package", Details("bench", "1.0.0", license="Apache-2.0"))
    publish(folder / "package", folder / "registry")
    shutil.copy(folder / "package" / "bench.ckpt", folder / "weights")


@contextlib.contextmanager
def served(folder: Path, registry: str = "registry"):
    """The address of a server of the registry in `folder`, which runs meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, folder, str(port), registry], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            raise RuntimeError("the server did not start; it needs aiohttp")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def timed(python: str, script: str, cache: Path, **env) -> float:
    """Seconds that `script` prints, run in a fresh process with an empty cache."""
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    done = subprocess.run(
        [python, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **{key: str(value) for key, value in env.items()}},
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure in turns and print one table."""
    parser = options(__doc__, peer=True)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    peer = peer_of(arguments, "huggingface_hub")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_registry(folder, **network_args(arguments))
        size = (folder / "weights").stat().st_size
        with served(folder) as url:
            ours, theirs = [], []
            for _ in range(1 if arguments.smoke else arguments.rounds):
                cache = folder / "cache"
                ours.append(timed(sys.executable, OURS, cache, GLOREXT_CACHE=cache, GLOREXT_REGISTRIES=url))
                if peer:
                    theirs.append(
                        timed(
                            arguments.peer_python,
                            THEIRS,
                            cache,
                            HF_HOME=cache,
                            HF_ENDPOINT=url,
                            HF_HUB_DISABLE_XET=1,
                            HF_HUB_DISABLE_TELEMETRY=1,
                        )
                    )
    show(size, ours, theirs, peer)
    speed = size / statistics.median(ours) / 1e6
    other = size / statistics.median(theirs) / 1e6 if theirs else None
    hand_over(arguments, __doc__, [Row("cold download", "MB/s", speed, peer, other, "more")])


def show(size: int, ours: list, theirs: list, peer: str | None) -> None:
    """Print the table: median and range of the seconds, and the speed at the median."""
    print(
        f"{size / 1e6:.1f} MB from a server on the loopback into an empty cache, {len(ours)} rounds in turns, "
        f"{os.cpu_count()} cores"
    )
    print("| client | median s | fastest s | slowest s | MB/s |\n| --- | --- | --- | --- | --- |")
    for name, seconds in (("glorext (every byte hashed)", ours), (peer, theirs)):
        if seconds:
            middle = statistics.median(seconds)
            print(f"| {name} | {middle:.3f} | {min(seconds):.3f} | {max(seconds):.3f} | {size / middle / 1e6:.0f} |")
    if theirs:
        print(f"speed of glorext / speed of {peer}: {statistics.median(theirs) / statistics.median(ours):.2f}")
    else:
        print("peer not measured: huggingface_hub is not installed")


if __name__ == "__main__":
    main()
