"""Claim: a package goes to an OCI registry and comes from it about as fast as skopeo moves the same artifact.

    python benchmarks/bench_oci.py [--rounds 5]

Debian's docker-registry on the loopback, with a password; a package of 100 MB; `glorext publish` into a new repository
and a load's download into an empty cache, each a fresh process, in turns with `skopeo copy` of the very same artifact
from and to a folder. glorext hashes every byte, verifies the package before it sends it, and starts Python; the seconds
are those of whole processes. Without docker-registry, htpasswd and skopeo it says so and ends.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_download import make_registry
from measured import Row, hand_over, network_args, options

NAME, PASSWORD = "anna", "secret"
SETTINGS = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/store}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: bench, path: {folder}/htpasswd}}}}
"""
FETCH = "import sys; from glorext import hub; hub.resolve('bench', registry=sys.argv[1])"


def started(folder: Path) -> tuple[subprocess.Popen, str]:
    """A registry and its host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    login = subprocess.run(["htpasswd", "-Bbn", NAME, PASSWORD], capture_output=True, check=True)
    (folder / "htpasswd").write_bytes(login.stdout)
    (folder / "config.yml").write_text(SETTINGS.format(folder=folder, port=port))
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"127.0.0.1:{port}"
        time.sleep(0.05)
    raise RuntimeError("the registry did not start")


def timed(words, **env) -> float:
    """Seconds of a process."""
    begun = time.perf_counter()
    environment = os.environ | {key: str(value) for key, value in env.items()}
    subprocess.run([str(word) for word in words], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure in turns and print one table."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds
    if missing := [name for name in ("docker-registry", "htpasswd", "skopeo") if not shutil.which(name)]:
        why = f"not installed: {', '.join(missing)} (Debian: docker-registry apache2-utils skopeo)"
        hand_over(arguments, __doc__, skipped=why)
        return
    found: dict[str, list[float]] = {"publish": [], "skopeo, to": [], "load": [], "skopeo, from": []}
    said = subprocess.run(["skopeo", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    skopeo = said.strip().replace(" version", "")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_registry(folder, **network_args(arguments))
        # skopeo sends to one of its own: where a blob lies in another repository it only says so
        (folder / "other").mkdir()
        (process, host), (second, other) = started(folder), started(folder / "other")
        try:
            env = {"DOCKER_CONFIG": folder / "docker", "GLOREXT_CACHE": folder / "cache"}
            subprocess.run(
                [sys.executable, "-m", "glorext", "login", host, "--username", NAME, "--password-stdin"],
                input=PASSWORD, text=True, check=True, env=os.environ | {k: str(v) for k, v in env.items()},
            )  # fmt: skip
            for number in range(rounds):
                place, copy = f"oci://{host}/round{number}", folder / f"copy{number}"
                words = [sys.executable, "-m", "glorext", "publish", folder / "package", "--to", place]
                found["publish"].append(timed(words, **env))
                artifact, login = f"docker://{host}/round{number}/bench:1.0.0", f"{NAME}:{PASSWORD}"
                words = [
                    "skopeo",
                    "copy",
                    "-q",
                    "--src-tls-verify=false",
                    "--src-creds",
                    login,
                    artifact,
                    f"dir:{copy}",
                ]
                found["skopeo, from"].append(timed(words))
                words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", login, f"dir:{copy}"]
                found["skopeo, to"].append(timed([*words, f"docker://{other}/round{number}/bench:1.0.0"]))
                shutil.rmtree(env["GLOREXT_CACHE"])
                found["load"].append(timed([sys.executable, "-c", FETCH, place], **env))
        finally:
            for server in (process, second):
                server.kill()
                server.wait()
    middle = {name: statistics.median(each) for name, each in found.items()}
    print(f"median of {rounds} rounds\n\n| what | glorext, s | skopeo, s | ratio |\n|---|---|---|---|")
    rows = []
    for name, ours, theirs in (("to the registry", "publish", "skopeo, to"), ("from it", "load", "skopeo, from")):
        print(f"| {name} | {middle[ours]:.2f} | {middle[theirs]:.2f} | {middle[ours] / middle[theirs]:.2f} |")
        rows.append(Row(name, "s", middle[ours], skopeo, middle[theirs]))
    hand_over(arguments, __doc__, rows)


if __name__ == "__main__":
    main()
