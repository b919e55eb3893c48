"""Hostile packages, indexes and cards are refused with a named error, and nothing outside the cache is touched."""

import gzip
import io
import json
import os
import pickle
import shutil
import time
import tracemalloc
import zipfile
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glorext.hub import resolve
from glorext.hub.card import read_card, strict_yaml
from glorext.hub.index import parse_index
from glorext.hub.manifest import parse_manifest
from glorext.hub.pack import pack
from glorext.hub.verify import verify
from glorext.models.evaluation import parse_evaluation
from glorext.runtime import (
    CheckpointError,
    DataError,
    DiskFullError,
    DownloadError,
    GlorextError,
    IntegrityError,
    NotFoundError,
    PackageError,
    RegistryError,
    UsageError,
    json_bytes,
    sha256_bytes,
    sha256_file,
    write_json,
)

from .fault_server import instead
from .samples import DETAILS


@pytest.fixture
def manifest(package):
    return json.loads((package / "manifest.json").read_bytes())


def outside(tmp_path):
    return {
        str(path): path.stat().st_mtime_ns
        for path in tmp_path.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/etc/passwd",
        "a/../../evil",
        "a/..",
        "..",
        ".",
        "",
        "a//b",
        "a/",
        "C:\\x",
        "a\\b",
        "~/x",
        ".hidden",
        "a/.b",
        "nul\0byte",
        "new\nline",
        "x" * 201,
        "caf\u00e9",
        "manifest.json",
        "MANIFEST.json",
        "trailing.",
        "-rf",
        "a b",
    ],
)
def test_paths_that_leave_the_package_are_refused(manifest, path):
    manifest["files"][path] = {"size": 1, "sha256": "0" * 64}
    with pytest.raises(PackageError, match="manifest.json: files"):
        parse_manifest(json_bytes(manifest))


@pytest.mark.parametrize("extra", [["CARD.md"], ["card.md/x"], ["x", "x/y"], ["x/Y", "X/z"]])
def test_two_names_for_one_file_are_refused(manifest, extra):
    for path in extra:
        manifest["files"][path] = {"size": 1, "sha256": "0" * 64}
    with pytest.raises(PackageError, match="each file once"):
        parse_manifest(json_bytes(manifest))


WRONG: dict[str, list] = {
    "schema": [None, 1, "glorext.package/9"],
    "name": ["", "..", "a/b", 5, None],
    "version": ["1", "1.0", 1.0, "01.0.0"],
    "network": ["", 5, "../x"],
    "network_args": [[], None, {"num_classes": 3}, {"a b": 1}, {"__class__": 1}, {"layers": {"a": 1}}],
    "num_classes": [0, -1, "10", 1.5, True, None],
    "input_spec": [{}, [], None, {"size": 32}],
    "labels_sha256": ["", "0" * 63, "G" * 64, None],
    "license": [None, 3],
    "summary": [None, []],
    "checkpoint": [None, "missing.ckpt", "../x", 5],
    "weights_sha256": [None, "0" * 65],
    "card": ["nope", None],
    "labels": ["nope", None],
    "evidence": ["nope", 3],
    "commit": [5, []],
    "versions": [[], {"a": 1}, None],
    "files": [
        [],
        None,
        {"x": []},
        {"x": {"size": 1}},
        {"x": {"size": "1", "sha256": "0" * 64}},
        {"x": {"size": -1, "sha256": "0" * 64}},
        {"x": {"size": 1, "sha256": "0" * 64, "mode": 511}},
    ],
}


MODEL = (
    "name",
    "version",
    "network",
    "network_args",
    "num_classes",
    "input_spec",
    "labels_sha256",
    "license",
    "weights_sha256",
)


def part(manifest, key):
    """The object of the manifest in which `key` stands."""
    return manifest["model"] if key in MODEL else manifest


@pytest.mark.parametrize("key, value", [(key, value) for key, values in WRONG.items() for value in values])
def test_wrong_types_and_values_name_the_field(manifest, key, value):
    part(manifest, key)[key] = value
    with pytest.raises(PackageError, match=key):
        parse_manifest(json_bytes(manifest))


NESTED = json.loads("[" * 500 + "]" * 500)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"network_args": {"layers": [100_000, 1, 1, 1]}}, "layers to be four numbers from 1 to 1000"),
        ({"network_args": {"layers": [1000, 1000, 1000, 1000]}}, "a checkpoint of at least"),
        ({"network_args": {"layers": [0, 1, 1, 1]}}, "layers"),
        ({"network_args": {"layers": [1, 1, 1, -1]}}, "layers"),
        ({"network_args": {"layers": [1] * 100_000}}, "layers"),
        ({"network_args": {"layers": "1111"}}, "layers"),
        ({"network_args": {"layers": [True, 1, 1, 1]}}, "layers"),
        ({"network_args": {"layers": [[1], 1, 1, 1]}}, "layers"),
        ({"network_args": {"layers": NESTED}}, "more than 64 levels"),
        ({"network_args": {"layers": [[[1]]]}}, "plain numbers"),
        ({"network_args": {"layers": None}}, "layers"),
        ({"network_args": {"stem_width": 10**9}}, "a checkpoint of at least"),
        ({"network_args": {"stem_width": -64}}, "stem_width"),
        ({"network_args": {"stem_width": 64.5}}, "stem_width"),
        ({"network_args": {"groups": 10**6}}, "a checkpoint of at least"),
        ({"network_args": {"groups": 0}}, "groups"),
        ({"network_args": {"width_per_group": 10**15}}, "a checkpoint of at least"),
        ({"network_args": {"width_per_group": 10**30}}, "more than 15 digits"),
        ({"network_args": {"in_channels": 10**9}}, "a checkpoint of at least"),
        ({"network_args": {"include_top": "yes"}}, "include_top"),
        ({"network_args": {"stem_pool": "max"}}, "stem_pool"),
        ({"network_args": {"checkpoint": "/etc/passwd"}}, "arguments out of"),
        ({"network_args": {"units": [[], [], [], []]}}, "arguments out of"),
        ({"network": "alexnet"}, "a network out of"),
        ({"network": "glore_res50", "network_args": {"units": [[1] * 10**5, [], [], []]}}, "units"),
        ({"network": "glore_res50", "network_args": {"units": [[10**9], [], [], []]}}, "units"),
        ({"num_classes": 10**9}, "a checkpoint of at least"),
        ({"num_classes": 10**300}, "a number of more than 15 digits"),
    ],
)
def test_networks_beyond_their_checkpoint_are_refused_at_once(server, url, registry, change, words):
    from glorext import hub

    def forge(manifest, folder):
        model = manifest["model"]
        arguments = model["network_args"] if model["network"] == change.get("network", "resnext50") else {}
        model.update(change)
        model["network_args"] = arguments | change.get("network_args", {})

    publish_forged(registry, forge)
    package = registry / "packages/tiny-digits/1.0.0"
    calls = [
        lambda: verify(package),
        lambda: resolve("tiny-digits"),
        lambda: resolve(package),
        lambda: hub.load("tiny-digits"),
        lambda: hub.load("tiny-digits", pretrained=False),
    ]
    tracemalloc.start()
    start = time.process_time()  # of the processor: what else the machine does is not counted
    for call in calls:
        with pytest.raises(PackageError, match=words):
            call()
    assert time.process_time() - start < 10 and tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert server.count("tiny-digits.ckpt") == 0


def test_a_claimed_size_does_not_buy_a_network_that_fits_no_memory(server, url, registry):
    """Without weights the checkpoint is not fetched, so its size is only a claim."""
    from glorext import hub

    def forge(manifest, folder):
        manifest["model"]["network_args"]["stem_width"] = 10**6
        manifest["files"]["tiny-digits.ckpt"]["size"] = 9 * 10**15

    publish_forged(registry, forge)
    with pytest.raises(UsageError, match="GB of memory"):
        hub.load("tiny-digits", pretrained=False)
    with pytest.raises(DiskFullError):
        hub.load("tiny-digits")


def test_a_deep_network_on_a_file_of_another_is_not_made(server, url, registry):
    """The file is large enough for what the manifest says, but does not hold it."""
    from glorext import hub
    from glorext.models.formats import read_tensors, write_tensors

    def forge(manifest, folder):
        path = folder / "tiny-digits.ckpt"
        write_tensors(read_tensors(path) | {"moments.x": np.zeros(10**7, np.float32)}, path)
        manifest["files"]["tiny-digits.ckpt"] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
        manifest["model"]["network_args"]["layers"] = [1000, 100, 1, 1]

    publish_forged(registry, forge)
    start = time.process_time()
    with pytest.raises(CheckpointError, match="as the network's arguments say"):
        hub.load("tiny-digits")
    with pytest.raises(PackageError, match="a checkpoint with layers"):
        verify(registry / "packages/tiny-digits/1.0.0")
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "arguments",
    [
        {"layers": [100_000, 1, 1, 1]},
        {"stem_width": 10**9},
        {"layers": [900] * 4},
        {"layers": NESTED},
        {"stem_width": -8},
    ],
)
def test_a_run_with_absurd_arguments_is_not_packed(run, tmp_path, arguments):
    folder = shutil.copytree(run, tmp_path / "run")
    record = json.loads((folder / "model.json").read_bytes())
    record["model"]["network_args"] |= arguments
    (folder / "model.json").write_bytes(json_bytes(record))
    start = time.process_time()
    with pytest.raises((DataError, UsageError, CheckpointError)):
        pack(folder, tmp_path / "out", DETAILS)
    assert time.process_time() - start < 10 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", sorted(set(WRONG) - {"evidence", "commit"}))
def test_missing_and_unknown_keys_are_named(manifest, key):
    value = part(manifest, key).pop(key)
    if key not in ("license", "num_classes", "version"):  # null would do elsewhere, but not in a package
        with pytest.raises(PackageError, match=f"the key '{key}'"):
            parse_manifest(json_bytes(manifest))
    else:
        with pytest.raises(PackageError, match=key):
            parse_manifest(json_bytes(manifest))
    part(manifest, key).update({key: value, "post_install": "rm"})
    with pytest.raises(PackageError, match="no other keys, found 'post_install'"):
        parse_manifest(json_bytes(manifest))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema": "a", "schema": "b"}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"n": ' + b"9" * 10_000 + b"}",
        b" " * (5 << 20),
    ],
)
def test_text_that_is_no_manifest_is_refused(data):
    with pytest.raises(PackageError):
        parse_manifest(data)


def test_duplicate_keys_inside_are_refused(manifest):
    text = json_bytes(manifest).decode().replace('"files": {', '"files": {"card.md": {"size": 0, "sha256": ""},', 1)
    with pytest.raises(PackageError, match="'card.md' twice"):
        parse_manifest(text.encode())


def index(**versions):
    release = {
        "manifest": {"size": 100, "sha256": "0" * 64},
        "network": "resnext50",
        "summary": "",
        "license": "",
        "num_classes": 10,
        "size": 5,
        "top1": None,
        "count": None,
    }
    return {"schema": "glorext.registry/1", "packages": {"tiny": {"1.0.0": release | versions}}}


@pytest.mark.parametrize(
    "value, words",
    [
        ({"schema": "glorext.registry/1", "packages": {"../evil": {}}}, "package names"),
        ({"schema": "glorext.registry/1", "packages": {"/etc": {}}}, "package names"),
        ({"schema": "glorext.registry/1", "packages": {"a": {"../../x": {}}}}, "versions"),
        ({"schema": "glorext.registry/1", "packages": {"a": []}}, "packages.a"),
        ({"schema": "glorext.registry/1", "packages": []}, "packages"),
        ({"schema": "glorext.registry/9", "packages": {}}, "schema"),
        ({"schema": "glorext.registry/1"}, "packages"),
        (index(manifest={"size": 100, "sha256": "../../x"}), "64 hex digits"),
        (index(manifest={"size": 1 << 40, "sha256": "0" * 64}), "size"),
        (index(num_classes=-1), "num_classes"),
        (index(size=-1), "size"),
        (index(top1=98.5), "top1"),
        (index(count=0), "count"),
        (index(network=["x"] * 1000), "a string"),
        (index(top1="0.9"), "a number"),
        (index(size=None), "size"),
        (index(count=1.5), "a whole number"),
    ],
)
def test_hostile_indexes_are_refused(value, words):
    with pytest.raises(RegistryError, match=words):
        parse_index(json_bytes(value), "index.json")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../tiny",
        "tiny@../1.0.0",
        "a/../b/c",
        "tiny@1.x",
        "tiny@sha256:0",
        "tiny@01",
        "TINY",
        "tiny@",
        "@1.0.0",
        "",
        "x" * 300,
        "mindspore/../../etc",
        "http://127.0.0.1/x",
        "tiny\n",
        "file:///etc/passwd",
    ],
)
def test_names_that_are_none_are_refused_before_anything_happens(server, url, name, tmp_path):
    with pytest.raises((UsageError, NotFoundError, PackageError)):
        resolve(name)
    assert server.requests == []


@pytest.mark.parametrize("name", ["tiny-digits.ckpt", "labels.txt", "manifest.json", "ResNeXt"])
def test_symbolic_links_are_refused(package, tmp_path, name):
    os.rename(package / name, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", package / name)
    with pytest.raises(PackageError, match="symbolic link"):
        verify(package)
    with pytest.raises(PackageError, match="symbolic link"):
        resolve(package)


def test_links_in_a_registry_folder_are_refused(registry, tmp_path):
    file = registry / "packages/tiny-digits/1.0.0/labels.txt"
    os.rename(file, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", file)
    with pytest.raises(PackageError, match="symbolic link"):
        resolve("tiny-digits", registry=registry)


def test_a_cache_entry_that_became_a_link_is_replaced_not_followed(server, url, tmp_path):
    checkpoint = resolve("tiny-digits").checkpoint
    (tmp_path / "precious").write_bytes(b"mine")
    checkpoint.unlink()
    checkpoint.symlink_to(tmp_path / "precious")
    assert not resolve("tiny-digits").checkpoint.is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"mine"


def publish_forged(registry, change):
    """Rewrite manifest and index of a registry so that the digests fit: only the content is hostile."""
    folder = registry / "packages/tiny-digits/1.0.0"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest, folder)
    write_json(folder / "manifest.json", manifest)
    data = (folder / "manifest.json").read_bytes()
    entry = json.loads((registry / "index.json").read_bytes())
    entry["packages"]["tiny-digits"]["1.0.0"]["manifest"] = {"size": len(data), "sha256": sha256_bytes(data)}
    write_json(registry / "index.json", entry)


def test_a_served_manifest_with_traversal_touches_nothing(server, url, registry, tmp_path):
    (registry / "evil").write_bytes(b"evil")

    def change(manifest, folder):
        manifest["files"]["../../../evil"] = {"size": 4, "sha256": sha256_bytes(b"evil")}

    publish_forged(registry, change)
    before = outside(tmp_path)
    with pytest.raises(PackageError, match="a relative path inside the package"):
        resolve("tiny-digits")
    assert outside(tmp_path) == before


def test_a_manifest_of_another_package_is_refused(server, url, registry):
    publish_forged(registry, lambda manifest, folder: manifest["model"].update(name="other-model"))
    with pytest.raises(PackageError, match="expected the package tiny-digits@1.0.0, found other-model@1.0.0"):
        resolve("tiny-digits")


def test_a_manifest_that_the_index_does_not_promise_is_refused(server, url, registry):
    file = registry / "packages/tiny-digits/1.0.0/manifest.json"
    file.write_bytes(file.read_bytes().replace(b'"tiny-digits"', b'"tiny-DIGITS"', 1))
    with pytest.raises(IntegrityError):
        resolve("tiny-digits")
    with pytest.raises(IntegrityError):
        resolve("tiny-digits", registry=registry)


def test_a_compressed_bomb_is_unpacked_no_further_than_an_index_may_be(server, url, monkeypatch):
    monkeypatch.setattr("glorext.hub.registry.MAX_INDEX_BYTES", 4 << 20)
    bomb = gzip.compress(bytes(300 << 20), 9)
    server.always["index.json"] = instead(bomb, **{"Content-Encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(DownloadError, match="at most 4,194,304 bytes"):
        resolve("tiny-digits")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_an_endless_index_is_cut_off(server, url, monkeypatch):
    monkeypatch.setattr("glorext.hub.registry.MAX_INDEX_BYTES", 1 << 20)
    server.always["index.json"] = instead(b" " * (2 << 20))
    with pytest.raises(DownloadError, match="at most 1,048,576 bytes"):
        resolve("tiny-digits")


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/glorext-was-run",)


@pytest.mark.parametrize("kind", ["pickle", "zip bomb", "torch zip"])
def test_pickle_and_zip_checkpoints_are_refused_and_never_run(server, url, registry, kind):
    if kind == "pickle":
        data = pickle.dumps(Evil()) + bytes(300_000)
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", pickle.dumps(Evil()) if kind == "torch zip" else bytes(100 << 20))
            file.writestr("archive/data/0", os.urandom(300_000))
        data = buffer.getvalue()

    def change(manifest, folder):
        (folder / "tiny-digits.ckpt").write_bytes(data)
        manifest["files"]["tiny-digits.ckpt"] = {"size": len(data), "sha256": sha256_bytes(data)}

    publish_forged(registry, change)
    from glorext import hub

    with pytest.raises(CheckpointError):
        hub.load("tiny-digits")
    with pytest.raises(CheckpointError):
        verify(registry / "packages/tiny-digits/1.0.0")
    assert not os.path.exists("/tmp/glorext-was-run")


def test_code_in_a_package_is_never_run(server, url, registry):
    evil = b"import os\nos.system('touch /tmp/glorext-was-run')\n"

    def change(manifest, folder):
        sources = [name for name in manifest["files"] if name.endswith(".py")]
        assert len(sources) > 3
        for name in sources:
            (folder / name).write_bytes(evil)
            manifest["files"][name] = {"size": len(evil), "sha256": sha256_bytes(evil)}

    publish_forged(registry, change)
    from glorext import hub

    assert hub.load("tiny-digits").training is False
    assert not os.path.exists("/tmp/glorext-was-run")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{letter}: &{letter} [{','.join([f'*{previous}'] * 9)}]\n" for previous, letter in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: !!python/object/apply:os.system ['touch /tmp/glorext-was-run']", "python/object"),
        ("a: !!python/name:os.system", "python/name"),
        ("a: !mine x", "!mine"),
        (BOMB, "alias"),
        ("a: 1\na: 2", "twice"),
        ("a: {b: 1, b: 2}", "twice"),
        ("1: x", "no string"),
        ("- a", "mapping"),
        ("a: [", "plain YAML"),
        ("[" * 1000, "plain YAML"),
        ("a: " + "[" * 20 + "]" * 20, "nesting"),
        ("<<: {a: 1}\nb: 2", "merge|'<<'|plain YAML"),
        ("a: \x00", "plain YAML"),
    ],
)
def test_hostile_yaml_is_refused(text, words):
    with pytest.raises(PackageError, match=words):
        strict_yaml(text, "card.md")
    assert not os.path.exists("/tmp/glorext-was-run")


def test_cards_are_read_as_strictly(package):
    card = package / "card.md"
    text = card.read_text()
    for old, new, words in [
        ("module-type: cv", "module-type: !!python/name:os.system", "plain YAML"),
        ("author: glorext\n", "", "author"),
        ("fine-tunable: true", "fine-tunable: maybe", "fine-tunable"),
        ("model-version: 1.0.0", "model-version: 1.0", "model-version"),
        ("author: glorext", "author: 'a:b'", "colon"),
        ("used-for: inference", "used-for: mining", "used-for"),
        ("module-type: cv", "module-type: magic", "module"),
        ("## Usage", "## Usage:", "heading"),
        ("## Usage", "--- x", "exactly two lines"),
        ("Evidence", "\u00c9vidence", "ASCII"),
        ("Evidence", "Evi\x0cdence", "control"),
        ("Evidence", "\r---", "control"),
        ("Evidence", "\x1c--- x", "control"),
        ("asset:\n- ", "asset:\n- x: 1\n  ", "asset"),
        ("repo-link: https", "repo-link: file", "repo-link"),
    ]:
        assert old in text
        card.write_text(text.replace(old, new, 1))
        with pytest.raises(PackageError, match=words):
            read_card(card)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_any_json_is_refused_by_name_or_is_a_manifest(value):
    for parse, error in (
        (parse_manifest, PackageError),
        (partial(parse_evaluation, error=PackageError), PackageError),
        (lambda data: parse_index(data, "index.json"), RegistryError),
    ):
        with pytest.raises(error):
            parse(json_bytes(value))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_of_a_manifest_is_refused_by_name_or_read_back(_package, data):
    value = json.loads((_package / "manifest.json").read_bytes())
    place = value
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[key], dict) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    try:
        assert parse_manifest(json_bytes(value)).to_bytes() == json_bytes(value)
    except PackageError:
        pass


def test_random_damage_is_always_a_named_error(registry):
    import random

    dice = random.Random(3)
    folder = registry / "packages/tiny-digits/1.0.0"
    for name in ("manifest.json", "card.md", "eval.json", "tiny-digits.ckpt", "labels.txt", "../../../index.json"):
        data = (folder / name).read_bytes()
        for _ in range(30):
            place = dice.randrange(len(data))
            (folder / name).write_bytes(
                data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
            )
            if name.endswith("index.json"):
                try:
                    resolve("tiny-digits", registry=registry)
                except GlorextError:
                    pass
            else:
                with pytest.raises(GlorextError):
                    resolve("tiny-digits", registry=registry)
        (folder / name).write_bytes(data)
    assert resolve("tiny-digits", registry=registry).version == "1.0.0"
