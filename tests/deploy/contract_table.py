"""Contracts that are whole and contracts that are broken, each one change away from a good one."""

import copy
import json
from functools import reduce
from typing import Any

from glorext.deploy.contract.artifact import LARGEST_CONTRACT
from glorext.models import InputSpec
from glorext.models.labels import labels_digest

LABELS = ["cat", "dog", "émeu"]
GOOD: dict[str, Any] = {
    "schema": "glorext.artifact/1",
    "file": "m.ms",
    "format": "ms",
    "size": 20,
    "sha256": "ab" * 32,
    "weights_dtype": "float32",
    "model": {
        "name": "resnext50-pets",
        "version": "1.2.0",
        "network": "resnext50",
        "network_args": {"layers": [1, 1, 1, 1], "pool": "max", "se": True, "stem": None, "grid": [[1], [2]]},
        "num_classes": 3,
        "input_spec": InputSpec(size=32, resize=40).to_dict(),
        "labels_sha256": labels_digest(LABELS),
        "weights_sha256": "0c" * 32,
        "license": "Apache-2.0",
    },
    "source": {"file": "m.onnx", "sha256": "12" * 32},
    "input": {"name": "image", "dtype": "float32", "shape": [-1, 3, 32, 32], "layout": "NCHW", "values": "normalized"},
    "output": {"name": "logits", "dtype": "float32", "shape": [-1, 3]},
    "labels": LABELS,
    "versions": {"glorext": "0.9", "mindspore": "2.2.14"},
    "deviation": None,
    "device": None,
}
MISSING = object()
# What is named where there is no key.
JSON, OBJECT, LIMIT = "JSON", "an object", str(LARGEST_CONTRACT)


def encoded(values) -> bytes:
    """A contract as a file holds it, whatever is wrong with it."""
    return json.dumps(values).encode()


def put(path: str, value, key: str | None = None) -> tuple[bytes, str]:
    """GOOD with `value` at `path`, and the key that a complaint must name (`path` itself if no other)."""
    values = copy.deepcopy(GOOD)
    *outer, last = path.split(".")
    inner = reduce(dict.__getitem__, outer, values)
    inner[last] = value
    if value is MISSING:
        del inner[last]
    return encoded(values), key or path


def text(old: str, new: str, key: str) -> tuple[bytes, str]:
    """GOOD with a piece of its text replaced."""
    data = encoded(GOOD).decode()
    assert data.count(old) == 1, old
    return data.replace(old, new).encode(errors="surrogateescape"), key


def labeled(labels, **changes) -> bytes:
    """GOOD with other labels and their digest."""
    model = GOOD["model"] | {"labels_sha256": labels_digest(labels)}
    return encoded(GOOD | {"labels": labels, "model": model} | changes)


def nested(depth: int) -> list:
    """A list in a list in a list."""
    return json.loads("[" * depth + "]" * depth)


DEVIATION = {"max_difference": 1e-3, "cosine": 0.99999}
CARD = {"family": "ascend310p", "chip": "Ascend310P3", "batches": [1, 4, 8]}
FIXED = {"input": GOOD["input"] | {"shape": [4, 3, 32, 32]}, "output": GOOD["output"] | {"shape": [4, 3]}}
ELSEWHERE = ("", ".", "..", "../m.ms", "/m.ms", "a/m.ms", "a\\m.ms", "m\n.ms", "m\0.ms", "m" * 201)
OBJECTS = ("model", "model.network_args", "model.input_spec", "input", "output", "versions")
KEYS = [
    path if name is None else f"{path}.{name}"
    for path, names in [(key, (None,)) for key in GOOD]
    + [(outer, GOOD[outer]) for outer in ("model", "source", "input", "output")]
    + [("model.input_spec", GOOD["model"]["input_spec"])]
    for name in names
]
TEXTS = ("file", "format", "sha256", "weights_dtype", "model.name", "model.version", "model.network", "model.license")
NUMBERS = ("size", "model.num_classes", "model.input_spec.size", "model.input_spec.resize")

BROKEN = (
    {f"without {path}": put(path, MISSING) for path in KEYS}
    | {f"null for {path}": put(path, None) for path in (*OBJECTS, *NUMBERS, "file", "labels", "model.name")}
    | {f"a number for {path}": put(path, 1) for path in (*OBJECTS, *TEXTS, "labels", "source", "deviation")}
    | {f"true for {path}": put(path, True) for path in (*NUMBERS, "model.name", "model.license")}
    | {f"text for {path}": put(path, "10") for path in (*NUMBERS, *OBJECTS, "source", "deviation")}
    | {f"a list for {path}": put(path, ["10"]) for path in (*NUMBERS, *OBJECTS, "file", "source")}
    | {f"a number with a point for {path}": put(path, 40.0) for path in NUMBERS}
    | {f"the file {name[:12]!r}": put("file", name) for name in ELSEWHERE}
    | {f"the source's file {name[:12]!r}": put("source.file", name) for name in ELSEWHERE}
    | {f"the name {name[:12]!r}": put("model.name", name) for name in ELSEWHERE}
    | {f"an unknown key in {path}": put(f"{path}.surprise", 1) for path in ("model", "model.input_spec", "source")}
    | {f"an unknown key in {path}": put(f"{path}.surprise", 1) for path in ("input", "output")}
    | {
        "an unknown key": put("surprise", 1),
        "an unknown key in deviation": put("deviation", {**DEVIATION, "mean": 0}, "deviation.mean"),
        "deviation without cosine": put("deviation", {"max_difference": 1}, "deviation.cosine"),
        "text in deviation": put("deviation", {**DEVIATION, "cosine": "1"}, "deviation.cosine"),
        "null in deviation": put("deviation", {**DEVIATION, "cosine": None}, "deviation.cosine"),
        "deviation as a list": put("deviation", [1e-3, 0.99999]),
        # where it runs
        "a device as text": put("device", "cpu"),
        "a device without a family": put("device", {"chip": None, "batches": []}, "device.family"),
        "a device without a chip": put("device", {"family": "cpu", "batches": []}, "device.chip"),
        "a device without batches": put("device", {"family": "cpu", "chip": None}, "device.batches"),
        "an unknown key in device": put("device", {**CARD, "cores": 8}, "device.cores"),
        "a device of another family": put("device", {**CARD, "family": "ascend610"}, "device.family"),
        "a chip of the cpu": put("device", {"family": "cpu", "chip": "Ascend310", "batches": []}, "device.chip"),
        "a chip as a number": put("device", {**CARD, "chip": 310}, "device.chip"),
        "a chip of another maker": put("device", {**CARD, "chip": "310P3"}, "device.chip"),
        "a chip without a name": put("device", {**CARD, "chip": "Ascend"}, "device.chip"),
        "a chip with a space": put("device", {**CARD, "chip": "Ascend 310"}, "device.chip"),
        "a chip with a newline": put("device", {**CARD, "chip": "Ascend310\n"}, "device.chip"),
        "a chip with a long name": put("device", {**CARD, "chip": "Ascend" + "3" * 41}, "device.chip"),
        "an open batch for a card without sizes": put("device", {**CARD, "batches": []}, "device.batches"),
        "sizes for the cpu": put("device", {"family": "cpu", "chip": None, "batches": [1]}, "device.batches"),
        "sizes for a fixed batch": (encoded(GOOD | FIXED | {"device": CARD}), "device.batches"),
        "falling sizes": put("device", {**CARD, "batches": [4, 1]}, "device.batches"),
        "a size twice": put("device", {**CARD, "batches": [1, 1]}, "device.batches"),
        "a prepared size of 0": put("device", {**CARD, "batches": [0, 1]}, "device.batches"),
        "a prepared size of 2049": put("device", {**CARD, "batches": [1, 2049]}, "device.batches"),
        "a prepared size as text": put("device", {**CARD, "batches": ["1"]}, "device.batches"),
        "101 prepared sizes": put("device", {**CARD, "batches": list(range(1, 102))}, "device.batches"),
        "another schema": put("schema", "glorext.artifact/2"),
        "another format": put("format", "exe"),
        "weights of int4": put("weights_dtype", "int4"),
        "no bytes": put("size", 0),
        "fewer than no bytes": put("size", -1),
        "a digest in upper case": put("sha256", "AB" * 32),
        "a short digest": put("sha256", "ab" * 31),
        "a digest and a newline": put("sha256", "ab" * 32 + "\n"),
        "a digest of other letters": put("model.weights_sha256", "xy" * 32),
        "the source's digest as a number": put("source.sha256", 12),
        "an empty source": put("source", {}, "source.file"),
        "a size of 10**400": text('"size": 20', f'"size": {10**400}', "size"),
        "a size of 2**53": put("size", 1 << 53),
        "a size of 1e400": text('"size": 20', '"size": 1e400', "size"),
        "a size of 2e1": text('"size": 20', '"size": 2e1', "size"),
        "a size of -0": text('"size": 20', '"size": -0', "size"),
        "a version of 1": put("versions.glorext", 1),
        "half of a surrogate pair in versions": put("versions.glorext", "\udce9"),
        "half of a surrogate pair in a key of versions": put("versions", {"\ud800": "1"}),
        # what the model is
        "9 classes by the model alone": put("model.num_classes", 9),
        "fewer than no classes": put("model.num_classes", -3),
        "9 classes by the output alone": put("output.shape", [-1, 9], "model.num_classes"),
        "9 classes with 3 labels": (
            encoded(
                GOOD | {"model": GOOD["model"] | {"num_classes": 9}, "output": GOOD["output"] | {"shape": [-1, 9]}}
            ),
            "labels",
        ),
        "half of a surrogate pair in the name": put("model.name", "caf\udce9"),
        "the halves of a surrogate pair in the wrong order": put("model.name", "\ude00\ud83d"),
        "bytes as Python's surrogateescape has them": put("model.name", "\udcc3\udca9"),
        "a fraction among the arguments": put("model.network_args.layers", [0.5], "model.network_args"),
        "an object among the arguments": put("model.network_args.layers", {}, "model.network_args"),
        "a list of lists of lists among the arguments": put("model.network_args.x", nested(3), "model.network_args"),
        "10**400 among the arguments": text('"pool": "max"', f'"pool": {10**400}', "model.network_args"),
        "half of a surrogate pair among the arguments": put("model.network_args.pool", "\ud83d", "model.network_args"),
        "num_classes among the arguments": put("model.network_args.num_classes", 3, "model.network_args"),
        "an argument that begins with _": put("model.network_args._layers", 3, "model.network_args"),
        "an argument with a space": put("model.network_args.a b", 3, "model.network_args"),
        "an argument without a name": put("model.network_args", {"": 3}),
        "an argument of other letters": put("model.network_args.größe", 3, "model.network_args"),
        # how a picture becomes the input
        "a side of 0": put("model.input_spec.size", 0),
        "a side of -32": put("model.input_spec.size", -32),
        "a huge side": put("model.input_spec.resize", 16385),
        "resize below size": put("model.input_spec.resize", 31),
        "an unknown resize_rule": put("model.input_spec.resize_rule", "stretch"),
        "another crop": put("model.input_spec.crop", "random"),
        "another interpolation": put("model.input_spec.interpolation", "cubic"),
        "another channel_order": put("model.input_spec.channel_order", "BGR"),
        "another layout of the network": put("model.input_spec.layout", "NHWC"),
        "a mean of two numbers": put("model.input_spec.mean", [0.5, 0.5]),
        "a mean of four numbers": put("model.input_spec.mean", [0.5] * 4),
        "a mean with text": put("model.input_spec.mean", [0.5, "0.5", 0.5]),
        "a mean with true": put("model.input_spec.mean", [0.5, True, 0.5]),
        "a mean as one number": put("model.input_spec.mean", 0.5),
        "a mean of 10**400": text("0.485", str(10**400), "model.input_spec.mean"),
        "a mean of 2**53": text("0.485", str(1 << 53), "model.input_spec.mean"),
        "a mean of 1e400": text("0.485", "1e400", "model.input_spec.mean"),
        "a std of zero": put("model.input_spec.std", [0.2, 0, 0.2]),
        "a std of almost zero": text("0.229", "1e-400", "model.input_spec.std"),
        "a negative std": put("model.input_spec.std", [0.2, -0.2, 0.2]),
        # input and output
        "an input without a type that we know": put("input.dtype", "float16"),
        "uint8 that is normalized": put("input.dtype", "uint8", "input.values"),
        "unknown values": put("input.values", "bytes"),
        "an unknown layout": put("input.layout", "CHWN"),
        "the other layout": put("input.layout", "NHWC", "input.shape"),
        "an empty layout": put("input.layout", ""),
        "a batch of 0": put("input.shape", [0, 3, 32, 32]),
        "a batch of -2": put("input.shape", [-2, 3, 32, 32]),
        "a batch of 2**31": put("input.shape", [1 << 31, 3, 32, 32]),
        "a batch of 65537": put("input.shape", [65537, 3, 32, 32]),
        "a batch with a point": put("input.shape", [1.0, 3, 32, 32]),
        "a batch as text": put("input.shape", ["1", 3, 32, 32]),
        "three axes": put("input.shape", [3, 32, 32]),
        "five axes": put("input.shape", [-1, 1, 3, 32, 32]),
        "no axes": put("input.shape", []),
        "sides of another size": put("input.shape", [-1, 3, 64, 64]),
        "four channels": put("input.shape", [-1, 4, 32, 32]),
        "a shape as text": put("input.shape", "[-1, 3, 32, 32]"),
        "an output named scores": put("output.name", "scores"),
        "an output of float16": put("output.dtype", "float16"),
        "an output with another batch": put("output.shape", [1, 3]),
        "an output with a layout": put("output.layout", "NCHW"),
        "an output of no classes": put("output.shape", [-1, 0]),
        "an output of one axis": put("output.shape", [3]),
        # labels
        "labels as one string": put("labels", "cde"),
        "a label that is a number": put("labels", ["cat", "dog", 3]),
        "a label that is null": put("labels", ["cat", "dog", None]),
        "half of a surrogate pair in a label": put("labels", ["cat", "dog", "\ud83d"]),
        "other labels": put("labels", ["cat", "dog", "cow"]),
        "labels in another order": put("labels", ["dog", "cat", "émeu"]),
        "an empty label": (labeled(["cat", "", "dog"]), "labels"),
        "a label of two lines": (labeled(["cat", "dog\nfox", "emu"]), "labels"),
        "a label that ends in a carriage return": (labeled(["cat", "dog\r", "emu"]), "labels"),
        "a label twice": (labeled(["cat", "dog", "cat"]), "labels"),
        "no labels but the digest of some": put("labels", []),
        # the file
        "an empty file": (b"", JSON),
        "white space": (b" \n", JSON),
        "a list": (b"[]", OBJECT),
        "a list of contracts": (encoded([GOOD]), OBJECT),
        "text": (b'"contract"', OBJECT),
        "null": (b"null", OBJECT),
        "an empty object": (b"{}", "schema"),
        "half of a file": (encoded(GOOD)[:300], JSON),
        "text after the object": (encoded(GOOD) + b"x", JSON),
        "two objects": (encoded(GOOD) * 2, JSON),
        "NUL after the object": (encoded(GOOD) + b"\0", JSON),
        "a byte order mark": (b"\xef\xbb\xbf" + encoded(GOOD), JSON),
        "UTF-16": (json.dumps(GOOD).encode("utf-16"), JSON),
        "bytes that are not UTF-8": text("resnext50-pets", "caf\udce9", JSON),
        "an overlong character": text("resnext50-pets", "\udcc0\udcaf", JSON),
        "half of a surrogate pair as bytes": text("resnext50-pets", "\udced\udca0\udcbd", JSON),
        "a key twice": text('"size": 20', '"size": 20, "size": 20', JSON),
        "a key twice in an object": text('"crop":', '"crop": "center", "crop":', JSON),
        "NaN": text('"size": 20', '"size": NaN', JSON),
        "-Infinity": text("0.485", "-Infinity", JSON),
        "a number with a leading zero": text('"size": 20', '"size": 020', JSON),
        "a number with a plus": text('"size": 20', '"size": +20', JSON),
        "a hexadecimal number": text('"size": 20', '"size": 0x14', JSON),
        "a number that ends in a point": text('"size": 20', '"size": 20.', JSON),
        "a comma before the end": text('"deviation": null', '"deviation": null,', JSON),
        "single quotes": text('"schema"', "'schema'", JSON),
        "a comment": text('"size": 20', '"size": 20 // bytes', JSON),
        "a line break in text": text("resnext50-pets", "resnext50\npets", JSON),
        "an unknown escape": text("resnext50-pets", "resnext50\\x2dpets", JSON),
        "an escape with too few digits": text("resnext50-pets", "\\u12", JSON),
        "nested 100 deep": put("model.network_args.layers", nested(100), JSON),
        "nested 100,000 deep": (b"[" * 100_000, JSON),
        "a file larger than any contract": (encoded(GOOD) + b" " * LARGEST_CONTRACT, LIMIT),
    }
)

SIDES_LAST = {"layout": "NHWC", "shape": [-1, 32, 32, 3]}
WHOLE = {
    "the contract itself": encoded(GOOD),
    "white space around it": b"\r\n\t " + encoded(GOOD) + b"\n\n",
    "a model without known labels": labeled([]),
    "labels of other alphabets, as escapes": labeled(["猫", "🐕", "a\u0301\u0085\u2028"]),
    "labels of other alphabets, as UTF-8": json.dumps(
        json.loads(labeled(["猫", "🐕", "a\u0301\u0085\u2028"])), ensure_ascii=False
    ).encode(),
    "channels last": put("input", GOOD["input"] | SIDES_LAST)[0],
    "pixels": put("input.values", "pixels")[0],
    "pixels as bytes": put("input", GOOD["input"] | {"dtype": "uint8", "values": "pixels"})[0],
    "a batch of 4": encoded(GOOD | FIXED),
    "rearranged for the cpu": put("device", {"family": "cpu", "chip": None, "batches": []})[0],
    "compiled for a chip and three sizes": put("device", CARD)[0],
    "compiled for a family and a fixed batch": encoded(
        GOOD | FIXED | {"device": {"family": "ascend910", "chip": None, "batches": []}}
    ),
    "compiled for an A3 and 100 sizes": put(
        "device", {"family": "ascend910", "chip": "Ascend910_9392", "batches": list(range(1949, 2049))}
    )[0],
    "float16 weights with their deviation": encoded(GOOD | {"weights_dtype": "float16", "deviation": DEVIATION}),
    "a deviation of whole numbers": put("deviation", {"max_difference": 0, "cosine": 1})[0],
    "probabilities": put("output.name", "probabilities")[0],
    "no source": put("source", None)[0],
    "no version and no license": encoded(
        GOOD | {"model": GOOD["model"] | {"version": None, "license": None, "network_args": {}}}
    ),
    "no versions": put("versions", {})[0],
    "a mean of whole numbers, one of them -0": text("0.485", "-0", "")[0],
    "a mean with an exponent": text("0.485", "4.85E-01", "")[0],
    "a std that is hardly above zero": text("0.229", "1e-320", "")[0],
    "the largest size": put("size", (1 << 53) - 1)[0],
    "a file of other letters": put("file", "größe 1 猫.ms")[0],
    "a name of 200 letters": put("model.name", "猫" * 200)[0],
    "an escaped solidus": text("Apache-2.0", "Apache\\/2.0", "")[0],
    "control characters as escapes": text("Apache-2.0", "a\\u0000b\\n", "")[0],
    "a format of another program": put("format", "onnx")[0],
}
