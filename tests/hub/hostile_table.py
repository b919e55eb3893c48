"""Hostile registries, one by one: which file of a sound registry is replaced by what, and who must refuse it."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import sha256_bytes, write_json

PACKAGE = "packages/tiny-digits/1.0.0"
CKPT, LOADS = "tiny-digits.ckpt", "load"
INDEX = ("list", LOADS, "site", "publish into")
CHECKS = ("verify", "publish", "reindex")
HUGE = "9" * 400


@dataclass(frozen=True)
class Hostile:
    """A registry with one hostile file.

    Attributes:
        file: which, relative to the registry, or relative to the package where it is not index.json.
        change: from the file's bytes to the hostile ones; manifest and index are made to fit them.
        refusing: the commands that must end with a named error; the others may do either, in time.
    """

    name: str
    file: str
    change: Callable[[bytes], bytes]
    refusing: tuple[str, ...]

    def put(self, registry: Path) -> None:
        """Make the sound registry hostile."""
        if self.file == "index.json":
            path = registry / self.file
            path.write_bytes(self.change(path.read_bytes()))
            return
        folder = registry / PACKAGE
        path = folder / self.file
        data = self.change(path.read_bytes())
        path.write_bytes(data)
        manifest = json.loads((folder / "manifest.json").read_bytes()) if self.file != "manifest.json" else None
        if manifest:
            manifest["files"][self.file] = {"size": len(data), "sha256": sha256_bytes(data)}
            if self.file == "labels.txt":
                manifest["model"]["labels_sha256"] = sha256_bytes(data)
            write_json(folder / "manifest.json", manifest)
        data = (folder / "manifest.json").read_bytes()
        index = json.loads((registry / "index.json").read_bytes())
        index["packages"]["tiny-digits"]["1.0.0"]["manifest"] = {"size": len(data), "sha256": sha256_bytes(data)}
        write_json(registry / "index.json", index)


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """A change of text that must be there."""

    def change(data: bytes) -> bytes:
        assert old.encode() in data, old
        return data.replace(old.encode(), new.encode(), 1)

    return change


def release(**values) -> Callable[[bytes], bytes]:
    """Other values in the only release of an index, given as JSON text."""

    def change(data: bytes) -> bytes:
        index = json.loads(data)
        entry = index["packages"]["tiny-digits"]["1.0.0"]
        entry.update({key: f"@{key}@" for key in values})
        text = json.dumps(index)
        for key, value in values.items():
            text = text.replace(f'"@{key}@"', value)
        return text.encode()

    return change


def model(**values) -> Callable[[bytes], bytes]:
    """Other values in the model of a manifest, given as JSON text."""

    def change(data: bytes) -> bytes:
        manifest = json.loads(data)
        manifest["model"].update({key: f"@{key}@" for key in values})
        text = json.dumps(manifest, sort_keys=True, indent=2) + "\n"
        for key, value in values.items():
            text = text.replace(f'"@{key}@"', value)
        return text.encode()

    return change


def always(data: bytes) -> Callable[[bytes], bytes]:
    """These bytes, whatever was there."""
    return lambda before: data


def header(*lines: str) -> Callable[[bytes], bytes]:
    """More lines in a card's front matter."""
    return replaced("module-type: cv\n", "module-type: cv\n" + "".join(f"{line}\n" for line in lines))


class _Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/glorext-was-run",)


def _zip_of_torch() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(_Evil()))
        file.writestr("archive/data/0", os.urandom(300_000))
    return buffer.getvalue()


MANIFEST_READERS = (LOADS, "site", *CHECKS)
ON_CARD = ("site", *CHECKS)
SHAPE = '{"groups": 4, "layers": %s, "stem_width": 8, "width_per_group": 2}'
TABLE = [
    Hostile("an index of nothing", "index.json", always(b""), INDEX),
    Hostile("an index that is a number", "index.json", always(HUGE.encode()), INDEX),
    Hostile("an index of brackets", "index.json", always(b"[" * 1_000_000), INDEX),
    Hostile("an index of objects", "index.json", always(b'{"a":' * 200_000), INDEX),
    Hostile("an index with 10,000 digits", "index.json", release(size="9" * 10_000), INDEX),
    Hostile("an index with 400 digits", "index.json", release(size=HUGE), INDEX),
    Hostile("an index with an infinite accuracy", "index.json", release(top1="1e999"), INDEX),
    Hostile("an index with an accuracy of 400 digits", "index.json", release(top1=HUGE), INDEX),
    Hostile("an index with half a surrogate pair", "index.json", release(summary='"\\ud800"'), INDEX),
    Hostile("a key with half a surrogate pair", "index.json", replaced('"tiny-digits"', '"\\ud800"'), INDEX),
    Hostile("a name that steers the terminal", "index.json", replaced('"tiny-digits"', '"\\u001b[2J"'), INDEX),
    Hostile("a version of 400 digits", "index.json", replaced('"1.0.0"', f'"{HUGE}.0.0"'), INDEX),
    Hostile("a summary that steers the terminal", "index.json", release(summary='"\\u001b]0;evil\\u0007\\u202e"'), ()),
    Hostile("a network that steers the terminal", "index.json", release(network='"\\u001b[31m\\r\\n\\u009b"'), ()),
    Hostile("a reason that steers the terminal", "index.json", release(deprecated='"\\u001b[2J\\nglorext: ok"'), ()),
    Hostile("an unknown key of 400 digits", "index.json", release(future=HUGE), ()),
    Hostile("an unknown key with half a surrogate pair", "index.json", release(future='{"\\udfff": "\\ud800"}'), ()),
    Hostile("a manifest of nothing", "manifest.json", always(b""), MANIFEST_READERS),
    Hostile("a manifest of brackets", "manifest.json", always(b"[" * 1_000_000), MANIFEST_READERS),
    Hostile("400 digits of classes", "manifest.json", model(num_classes=HUGE), MANIFEST_READERS),
    Hostile("a mean of 400 digits", "manifest.json", replaced("0.485", HUGE), MANIFEST_READERS),
    Hostile("a mean that is infinite", "manifest.json", replaced("0.485", "1e999"), MANIFEST_READERS),
    Hostile("a license with half a surrogate pair", "manifest.json", model(license='"\\ud800"'), MANIFEST_READERS),
    Hostile("layers of 400 digits", "manifest.json", model(network_args=SHAPE % f"[{HUGE},1,1,1]"), MANIFEST_READERS),
    Hostile(
        "layers beyond any memory", "manifest.json", model(network_args=SHAPE % "[900,900,900,900]"), MANIFEST_READERS
    ),
    Hostile("300,000 layers", "manifest.json", model(network_args=SHAPE % f"[{'1,' * 300_000}1]"), MANIFEST_READERS),
    Hostile("layers in layers", "manifest.json", model(network_args=SHAPE % ("[" * 900 + "]" * 900)), MANIFEST_READERS),
    Hostile("a path out of the package", "manifest.json", replaced('"card.md": {', '"../x": {'), MANIFEST_READERS),
    Hostile(
        "a summary for the terminal", "manifest.json", replaced('"summary": "', '"summary": "\\u001b[2J'), ON_CARD[1:]
    ),
    Hostile("20,000 keys on the card", "card.md", header(*(f"k{index}: 1" for index in range(20_000))), ON_CARD),
    Hostile("2,500 keys on the card", "card.md", header(*(f"k{index}: 1" for index in range(2_500)), "k9: 2"), ON_CARD),
    Hostile("a number of sixties on the card", "card.md", header("x: 1" + ":1" * 10_000), ON_CARD),
    Hostile("10,000 digits on the card", "card.md", replaced("accuracy: 98.0", "accuracy: " + "9" * 10_000), ON_CARD),
    Hostile("400 digits on the card", "card.md", replaced("accuracy: 98.0", f"accuracy: {HUGE}"), ON_CARD),
    Hostile("hexadecimal for a name", "card.md", replaced("author: glorext", "author: 0x" + "f" * 20_000), ON_CARD),
    Hostile("deep nesting on the card", "card.md", header("x: " + "[" * 10_000), ON_CARD),
    Hostile("a long list on the card", "card.md", header("x: [" + "1," * 7_500 + "]"), ()),
    Hostile("an escape on the card", "card.md", replaced("## Usage", "## \x1b[2JUsage"), ON_CARD),
    Hostile("a bomb of aliases on the card", "card.md", header("x: &a [1]", "y: [*a, *a]"), ON_CARD),
    Hostile("evidence of 400 digits", "eval.json", replaced('"count": 100', f'"count": {HUGE}'), ON_CARD),
    Hostile("evidence of deep lists", "eval.json", always(b"[" * 1_000_000), ON_CARD),
    Hostile("evidence with a folder for the terminal", "eval.json", replaced('"val"', '"\\ud800"'), ON_CARD),
    Hostile("curves of 400 digits", "metrics.jsonl", replaced('"loss": 2.0', f'"loss": {HUGE}'), ON_CARD),
    Hostile("curves that are infinite", "metrics.jsonl", replaced('"loss": 2.0', '"loss": 1e999'), ON_CARD),
    Hostile("curves of deep lists", "metrics.jsonl", always(b"[" * 1_000_000), ON_CARD),
    Hostile("labels that are no text", "labels.txt", always(b"\xff\xfe\n" * 10), ()),
    Hostile("labels for the terminal", "labels.txt", always(b"\x1b[2J\n" * 10), ()),
    Hostile("a pickle", CKPT, always(pickle.dumps(_Evil()) + bytes(300_000)), (LOADS, *CHECKS)),
    Hostile("a PyTorch file", CKPT, always(_zip_of_torch()), (LOADS, *CHECKS)),
    Hostile("a checkpoint of zeros", CKPT, always(bytes(400_000)), (LOADS, *CHECKS)),
]
