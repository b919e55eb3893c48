"""OCI registries for tests: Debian's docker-registry with a password, and one of static files that can misbehave."""

import base64
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from aiohttp import web

from glorext.hub.index import Release
from glorext.hub.manifest import MANIFEST
from glorext.hub.oci_artifact import artifact
from glorext.hub.verify import verify

from .fault_server import FaultServer

NAME, PASSWORD = "anna", "a secret"
BASIC = "Basic " + base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
SETTINGS = """\
version: 0.1
log: {{accesslog: {{disabled: false}}, level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/store}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
needs_docker_registry = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("htpasswd")),
    reason="no docker-registry or htpasswd here (Debian: docker-registry, apache2-utils)",
)


class DockerRegistry:
    """A docker-registry that runs on the loopback, with the login of NAME."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder, self.log = folder, folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        login = subprocess.run(["htpasswd", "-Bbn", NAME, PASSWORD], capture_output=True, check=True)
        (folder / "htpasswd").write_bytes(login.stdout)
        (folder / "config.yml").write_text(SETTINGS.format(folder=folder, port=self.port))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
            )
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(self.log.read_text())

    def close(self):
        self.process.kill()
        self.process.wait()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def place(self):
        return f"oci://{self.host}/models"

    def asked(self, method: str, part: str, status: int) -> int:
        """How many requests with this method were answered with this status, for paths that hold `part`."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(f'"{method} ' in line and part in line and f'" {status} ' in line for line in lines)


class StaticRegistry(FaultServer):
    """What a registry answers of one package, as files below `root`, behind a server that can misbehave."""

    def __init__(self, root: Path, package: Path):
        manifest, evidence = verify(package)
        release = Release.of(manifest, evidence)
        base = root / "v2/models" / manifest.name
        for folder in ("tags", "manifests", "blobs"):
            (base / folder).mkdir(parents=True)
        (base / "tags" / "list").write_text(json.dumps({"name": manifest.name, "tags": ["latest", manifest.version]}))
        (base / "manifests" / manifest.version).write_bytes(artifact(manifest, release)[0])
        for file, entry in {**manifest.files, MANIFEST: release.manifest}.items():
            shutil.copyfile(package / file, base / "blobs" / f"sha256:{entry.sha256}")
        super().__init__(root)
        self.place = f"oci://127.0.0.1:{self.port}/models"
        self.checkpoint = f"sha256:{manifest.files[manifest.checkpoint].sha256}"


def guarded(server, repository: str, tokens: list[str]):
    """Let `server` want a token for every file of the repository, the last of `tokens`; the requests for tokens."""
    wanted = []

    async def give(server, request, data):
        wanted.append((dict(request.query), request.headers.get("Authorization")))
        return web.json_response({"token": tokens[-1], "expires_in": 300})

    async def ask(server, request, data):
        if request.headers.get("Authorization") == f"Bearer {tokens[-1]}":
            return None
        realm, scope = f"{server.url}/token", f"repository:{repository}:pull"
        return web.Response(
            status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="models",scope="{scope}"'}
        )

    server.always["token"] = give
    for path in (server.root / "v2").rglob("*"):
        if path.is_file():
            server.always[str(path.relative_to(server.root))] = ask
    return wanted
