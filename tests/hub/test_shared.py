"""A cache and a registry that several real users share, whatever their umask: nothing of another's is touched."""

import encodings.idna  # noqa: F401 - read before the user changes
import errno
import netrc  # noqa: F401
import os
import shlex  # noqa: F401
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path

import filelock  # noqa: F401
import platformdirs  # noqa: F401
import pytest
import requests  # noqa: F401
import tqdm  # noqa: F401

from glorext.hub import resolve
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.runtime import RegistryError, env, files, sha256_file

from .fault_server import cut
from .samples import DETAILS

ANNA, BERT, GUEST, GROUP = 60001, 60002, 60003, 60000
CKPT = "tiny-digits.ckpt"
UMASKS = [(0o022, 0o022), (0o002, 0o022), (0o077, 0o002)]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run as several users")


@pytest.fixture
def shared():
    """A folder that other users reach, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="glorext-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def of_group(shared):
    """Call it: a new folder in which the group may write, and whose files are the group's."""

    def make(name):
        folder = shared / name
        folder.mkdir()
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2775)
        return folder

    return make


def as_user(call, uid, umask=0o022, group=GROUP, **env):
    """What `call()` gives in a process of that user, or its error as text.

    A fork, not a new process: other users may not reach this checkout or its Python.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.environ.update({"HOME": "/nowhere", **{key: str(value) for key, value in env.items()}})
            os.setgroups([])
            os.setgid(group)
            os.setuid(uid)
            os.umask(umask)
            answer = str(call())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        answer = file.read()
    os.waitpid(process, 0)
    return answer


def load(**who):
    """The version of tiny-digits that a user loads, or his error."""
    return as_user(lambda: resolve("tiny-digits").version, **who)


@pytest.mark.parametrize("first, second", UMASKS)
def test_two_users_share_a_cache(server, url, registry, run, of_group, tmp_path, first, second):
    cache = of_group("cache")
    server.always[CKPT] = cut(100_000)
    assert load(uid=ANNA, umask=first, GLOREXT_CACHE=cache).startswith("DownloadError")
    parts = list(cache.glob("hub/partial/*"))
    assert [part.stat().st_uid for part in parts] == [ANNA]
    server.always.clear()
    before = len(server.requests)
    assert load(uid=BERT, umask=second, GLOREXT_CACHE=cache) == "1.0.0"
    ranges = [header for path, header in server.requests[before:] if path.endswith(CKPT)]
    # what another user keeps to himself starts again
    assert ranges == ([None] if first == 0o077 else ["bytes=100000-"])
    assert not list(cache.glob("hub/partial/*"))
    for blob in cache.glob("hub/blobs/*"):
        assert sha256_file(blob) == blob.name and stat.S_IMODE(blob.stat().st_mode) == 0o444
    before = len(server.requests)
    assert load(uid=ANNA, umask=first, GLOREXT_CACHE=cache) == "1.0.0"
    assert len(server.requests) == before
    # each of them adds to what the other one made
    for version, uid, umask in (("1.1.0", ANNA, first), ("1.2.0", BERT, second)):
        pack(run, tmp_path / version, DETAILS.__class__(**{**vars(DETAILS), "version": version}))
        publish(tmp_path / version, registry)
        for path in cache.glob("hub/indexes/*"):
            path.unlink()
        assert load(uid=uid, umask=umask, GLOREXT_CACHE=cache) == version
    assert len(list(cache.glob("hub/seen/tiny-digits/*"))) == 3
    for path in (cache / "hub").rglob("*"):
        assert path.stat().st_gid == GROUP
        assert not path.is_dir() or path.stat().st_mode & stat.S_IWGRP
        held = path.parent.parent.name in ("packages", "blobs") or path.parent.name == "blobs"
        assert path.is_dir() or not held or stat.S_IMODE(path.stat().st_mode) == 0o444


def test_damage_to_another_users_file_is_mended(server, url, of_group):
    cache = of_group("cache")
    assert load(uid=ANNA, umask=0o022, GLOREXT_CACHE=cache) == "1.0.0"
    for path in (*cache.glob("hub/blobs/*"), *cache.glob("hub/packages/*/*.ckpt")):
        with open(path, "r+b") as file:
            file.write(b"flipped")
    assert load(uid=BERT, umask=0o022, GLOREXT_CACHE=cache) == "1.0.0"
    for blob in cache.glob("hub/blobs/*"):
        if blob.stat().st_uid == BERT:
            assert sha256_file(blob) == blob.name
    assert {sha256_file(path) for path in cache.glob("hub/packages/*/*.ckpt")} < {
        path.name for path in cache.glob("hub/blobs/*")
    }


def test_in_a_folder_of_everybody_the_other_ones_unfinished_file_stays(server, url, shared):
    cache = shared / "cache"
    cache.mkdir()
    cache.chmod(0o1777)
    server.always[CKPT] = cut(100_000)
    assert load(uid=ANNA, umask=0o077, group=ANNA, GLOREXT_CACHE=cache).startswith("DownloadError")
    server.always.clear()
    assert load(uid=BERT, umask=0o022, group=BERT, GLOREXT_CACHE=cache) == "1.0.0"
    assert [path.stat().st_uid for path in cache.glob("hub/partial/*")] == [ANNA]


def test_who_may_only_read_a_cache_loads_from_it(server, url, of_group):
    cache = of_group("cache")
    assert load(uid=ANNA, umask=0o077, GLOREXT_CACHE=cache) == "1.0.0"
    before = len(server.requests)
    assert load(uid=GUEST, umask=0o022, group=GUEST, GLOREXT_CACHE=cache) == "1.0.0"
    assert len(server.requests) == before


@pytest.mark.parametrize("first, second", UMASKS)
def test_two_users_publish_into_one_registry(run, of_group, shared, tmp_path, first, second):
    registry = of_group("registry")
    for version, uid, umask in (("1.0.0", ANNA, first), ("1.1.0", BERT, second), ("1.2.0", ANNA, first)):
        package = shared / version
        pack(run, package, DETAILS.__class__(**{**vars(DETAILS), "version": version}))
        cache = shared / f"cache{uid}"
        cache.mkdir(exist_ok=True)
        os.chown(cache, uid, uid)
        said = as_user(lambda: publish(package, registry), uid=uid, umask=umask, GLOREXT_CACHE=cache)  # noqa: B023
        assert said == f"('tiny-digits@{version}', True)"
        guest = {"uid": GUEST, "group": GUEST, "GLOREXT_CACHE": shared / "none", "GLOREXT_REGISTRIES": registry}
        assert load(**guest) == version
    for path in registry.rglob("*"):
        assert path.stat().st_gid == GROUP and path.stat().st_mode & stat.S_IROTH, path


def test_without_a_home_folder_the_cache_is_asked_for():
    guest = {"uid": GUEST, "group": GUEST}
    assert "Set GLOREXT_CACHE to a folder" in as_user(env.cache_dir, **guest, HOME="", GLOREXT_CACHE="")
    assert "no home folder" in as_user(env.cache_dir, **guest, GLOREXT_CACHE="~someone/cache")


def test_without_file_locks_a_cache_works_and_a_registry_refuses(server, url, package, tmp_path, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    assert resolve("tiny-digits").version == "1.0.0"
    assert "has no file locks" in caplog.text
    with pytest.raises(RegistryError, match="No locks available"):
        publish(package, tmp_path / "fresh")


def test_who_waits_for_a_lock_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.1)
    with files.file_lock(tmp_path / "lock", "that works"):
        threading.Timer(0.25, lambda: (tmp_path / "told").write_text(caplog.text)).start()
        waiting = threading.Thread(target=lambda: files.file_lock(tmp_path / "lock", "that works").__enter__())
        waiting.start()
        time.sleep(0.4)
    waiting.join(5)
    assert "waiting for another process that works, 0 s so far" in (tmp_path / "told").read_text()
    assert not waiting.is_alive()
