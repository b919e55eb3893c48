"""A small real training run, its package and a registry; and a cache of each test's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from glorext import models
from glorext.hub import challenges
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.models.labels import labels_bytes
from glorext.models.trained import write_run
from glorext.runtime import sha256_file, write_json

from .fault_server import FaultServer
from .samples import ARGUMENTS, DETAILS, LABELS, SPEC, evaluation, identity


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder with the weights of a real, tiny ResNeXt."""
    folder = tmp_path_factory.mktemp("run")
    models.save_checkpoint(models.create("resnext50", num_classes=10, **ARGUMENTS), folder / "best.ckpt")
    (folder / "labels.txt").write_bytes(labels_bytes(LABELS))
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump({"network": "resnext50", "network_args": ARGUMENTS, "num_classes": 10, "input": SPEC})
    )
    write_json(folder / "eval.json", evaluation(folder))
    write_run(folder, identity(folder), None)
    epochs = [
        {
            "event": "epoch",
            "epoch": epoch,
            "loss": 2.0 / epoch,
            "lr": 0.05,
            "images_per_second": 30.0,
            "top1": 1 - 0.3 / epoch,
            "top5": 1.0,
            "seconds": 4.0,
        }
        for epoch in range(1, 6)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in epochs))
    return folder


@pytest.fixture(scope="session")
def _package(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    pack(run, folder, DETAILS)
    return folder


@pytest.fixture
def package(_package, tmp_path):
    """A package folder of the test's own."""
    return Path(shutil.copytree(_package, tmp_path / "package"))


@pytest.fixture(scope="session")
def _registry(_package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    publish(_package, folder)
    return folder


@pytest.fixture
def registry(_registry, tmp_path):
    """A registry folder of the test's own, with tiny-digits@1.0.0."""
    return Path(shutil.copytree(_registry, tmp_path / "registry"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of this test; no registry, no proxy and no offline mode from outside."""
    for name in (
        "GLOREXT_REGISTRIES",
        "GLOREXT_OFFLINE",
        "GLOREXT_TIMEOUT",
        "GLOREXT_TOKENS",
        "REQUESTS_CA_BUNDLE",
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub"


@pytest.fixture(autouse=True)
def docker_config(tmp_path, monkeypatch):
    """A folder of the test's own for logins; no challenge answered before."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(challenges, "_headers", {})
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def quick(monkeypatch):
    """Retries without long pauses."""
    monkeypatch.setattr("glorext.hub.web.BACKOFF_SECONDS", 0.001)


@pytest.fixture
def server(registry, quick):
    """The registry behind a server that can misbehave."""
    server = FaultServer(registry)
    yield server
    server.close()


@pytest.fixture
def url(server, monkeypatch):
    """The address of `server`, which is the only registry of the test."""
    monkeypatch.setenv("GLOREXT_REGISTRIES", server.url)
    return server.url


@pytest.fixture
def sound(cache):
    """Call it: every file under its final name in the cache has the bytes that its name promises."""

    def check():
        for blob in cache.glob("blobs/*"):
            assert sha256_file(blob) == blob.name
        for folder in cache.glob("packages/*"):
            manifest = folder / "manifest.json"
            assert not manifest.exists() or sha256_file(manifest) == folder.name
            files = json.loads(manifest.read_bytes())["files"] if manifest.exists() else {}
            for path in folder.rglob("*"):
                if path.is_file() and path != manifest and not path.name.startswith("."):
                    assert sha256_file(path) == files[str(path.relative_to(folder))]["sha256"]

    return check


@pytest.fixture
def python():
    """Run a script in a fresh process; (status, stdout, stderr)."""

    def call(script, *args, **env):
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            capture_output=True,
            text=True,
            env={**os.environ, **{key: str(value) for key, value in env.items()}},
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a small tmpfs."""
    mounted = []

    def mount(nbytes, options="rw"):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={nbytes},{options}", "tmpfs", folder], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a file system of a few kilobytes needs the right to mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)
