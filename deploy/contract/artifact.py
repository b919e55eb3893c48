"""The contract of an exported or converted model: one JSON beside the file, written here, read by every later step."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from glorext.models import InputSpec
from glorext.models.labels import labels_digest
from glorext.models.trained import Identity
from glorext.runtime import DataError, IntegrityError, json_bytes, sha256_file, write_json
from glorext.runtime.chips import FAMILIES
from glorext.runtime.fields import Fields, shown

SCHEMA = "glorext.artifact/1"
AGAIN = "Make the model again with `glorext export` or `glorext convert`."
LARGEST_CONTRACT = 16 << 20
FILE, FILE_WORDS = re.compile(r"(?!\.\.?\Z)[^/\\\x00-\x1f\x7f]+"), "the name of a file, without a folder"
LARGEST_SIDE = 1 << 16
FORMATS = ("mindir", "onnx", "air", "ms", "lite-mindir")
CHIP_NAME = re.compile(r"Ascend[0-9A-Za-z_-]{1,40}")
# How many batch sizes a card's compiler prepares a model for, and the largest of them (MindSpore Lite, dynamic_dims).
MOST_PREPARED, LARGEST_PREPARED = 100, 2048


@dataclass(frozen=True)
class Port:
    """One input or output of a model.

    Attributes:
        name: its name in the graph; an output's says what it is, "logits" or "probabilities".
        dtype: element type, "float32" or, for an input, "uint8".
        shape: sizes, -1 where the batch may vary.
        layout: order of the axes of an input, "NCHW" or "NHWC"; empty for an output.
        values: of an input: "normalized" by its InputSpec, or "pixels" 0 to 255, which the model normalizes itself.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str = ""
    values: str = ""

    def __post_init__(self):
        if self.layout and not self.values:
            object.__setattr__(self, "values", "pixels" if self.dtype == "uint8" else "normalized")

    @property
    def batch(self) -> int:
        """Size of the first axis, -1 where it may vary."""
        return self.shape[0]


@dataclass(frozen=True)
class Device:
    """Where alone a converted model runs.

    Attributes:
        family: "cpu", or the family of chips.
        chip: the exact chip that it was compiled for, "Ascend310P3"; None for the cpu and where it is not known.
        batches: the batch sizes that a model with an open batch was prepared for, rising.
    """

    family: str
    chip: str | None = None
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A model file together with what it expects, what it computes and where it comes from.

    Attributes:
        file: file name, relative to the contract.
        format: one of FORMATS; "lite-mindir" is what the MindSpore Lite converter writes as .mindir.
        size: bytes of the file.
        sha256: digest of the file.
        model: what the model is, wherever it stands: its weights' digest, network, InputSpec and labels' digest.
        source: file and sha256 of the model it was converted from; None when exported from the network.
        input: the input's contract.
        output: the output's contract: logits or probabilities.
        labels: class names in the order of the logits; empty when unknown.
        versions: of what made it.
        weights_dtype: what the kernels and matrices are stored in, "float32" or "float16".
        deviation: how far the outputs moved by storing them so, on the golden inputs: {"max_difference", "cosine"};
            None for float32.
        device: where alone it runs; None for a model that was compiled and rearranged for none.
    """

    file: str
    format: str
    model: Identity
    size: int
    sha256: str
    source: dict | None
    input: Port
    output: Port
    labels: tuple[str, ...]
    versions: dict = field(default_factory=dict)
    weights_dtype: str = "float32"
    deviation: dict | None = None
    device: Device | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def input_spec(self) -> InputSpec:
        """How a picture becomes the input."""
        return self.model.input_spec

    def to_dict(self) -> dict:
        """The contract as JSON values."""
        values = {"schema": SCHEMA, **asdict(self), "model": self.model.to_dict()}
        for key in ("layout", "values"):
            values["output"].pop(key)
        return values


def contract_path(model) -> Path:
    """Where the contract of a model file stands."""
    return Path(f"{model}.json")


def write_artifact(path: Path, **values) -> Artifact:
    """Write the contract of a finished model file beside it; the arguments are Artifact's other fields.

    Raises:
        DataError: no reader would take this contract; nothing was written.
    """
    path = Path(path)
    artifact = Artifact(file=path.name, size=path.stat().st_size, sha256=sha256_file(path), **values)
    parse_contract(json_bytes(artifact.to_dict()), contract_path(path))
    write_json(contract_path(path), artifact.to_dict())
    return artifact


def read_artifact(model) -> Artifact:
    """Read a model file's contract and check the file against it.

    Raises:
        DataError: no model, no contract, or a contract that is not one.
        IntegrityError: the file is not the one the contract was written for.
    """
    model = Path(model)
    if not model.is_file():
        raise DataError(
            expected="a model file",
            found="no such file",
            where=model,
            do="Make it with `glorext export` and `glorext convert`.",
        )
    path = contract_path(model)
    if not path.is_file():
        raise DataError(
            expected=f"the contract {path.name} beside the model",
            found="no such file",
            where=model.parent,
            do="Keep the two files together, or make them again with `glorext export` or `glorext convert`.",
        )
    artifact = parse_contract(path.read_bytes(), path)
    if artifact.file != model.name:
        raise DataError(
            expected=f"the contract of {model.name}", found=f"that of {artifact.file}", where=path, do=AGAIN
        )
    found = sha256_file(model)
    if found != artifact.sha256:
        raise IntegrityError(
            expected=f"sha256 {artifact.sha256[:16]}... ({artifact.size:,} bytes)",
            found=f"{found[:16]}... ({model.stat().st_size:,} bytes)",
            where=model,
            do="The file was changed or cut off after it was made: make or copy it again.",
        )
    return artifact


def parse_contract(data: bytes, where) -> Artifact:
    """The contract in the bytes of its file; deploy/cpp/src/contract.cc takes and refuses the same ones.

    Raises:
        DataError: not JSON, a missing, unknown or wrongly typed key, or values that contradict each other.
    """
    if len(data) > LARGEST_CONTRACT:
        raise DataError(expected=f"at most {LARGEST_CONTRACT:,} bytes", found=f"{len(data):,}", where=where, do=AGAIN)
    top = Fields.parse(data, where, SCHEMA, do=AGAIN)
    artifact = Artifact(
        file=top.matching("file", FILE, FILE_WORDS),
        format=top.one_of("format", *FORMATS),
        size=top.count("size", 1),
        sha256=top.digest("sha256"),
        weights_dtype=top.one_of("weights_dtype", "float32", "float16"),
        model=_model(top.inner("model")),
        source=_source(top.inner("source", optional=True)),
        input=_input(top.inner("input")),
        output=_output(top.inner("output")),
        labels=top.values("labels", str),
        versions=top.strings("versions"),
        deviation=_deviation(top.inner("deviation", optional=True)),
        device=_device(top.inner("device", optional=True)),
    )
    top.done()
    _check(artifact, top)
    return artifact


def _check(artifact: Artifact, top: Fields) -> None:
    """Whether the parts of a contract fit together."""
    side, classes, labels = artifact.input_spec.size, artifact.output.shape[1], artifact.labels
    picture = (3, side, side) if artifact.input.layout == "NCHW" else (side, side, 3)
    if artifact.input.shape[1:] != picture:
        raise top.wrong(
            f"[batch, {', '.join(map(str, picture))}], as model.input_spec and layout say",
            list(artifact.input.shape),
            "input.shape",
        )
    if artifact.output.batch != artifact.input.batch:
        raise top.wrong(f"the batch of the input, {artifact.input.batch}", artifact.output.batch, "output.shape")
    if (device := artifact.device) and bool(device.batches) != (device.family != "cpu" and artifact.input.batch == -1):
        raise top.wrong(
            "sizes for a card and an open batch, and for nothing else", list(device.batches), "device.batches"
        )
    if artifact.model.num_classes != classes:
        raise top.wrong(f"{classes}, as output.shape says", artifact.model.num_classes, "model.num_classes")
    # A model without known class names is a model all the same.
    if labels and len(labels) != classes:
        raise top.wrong(f"{classes} labels, as output.shape says", len(labels), "labels")
    if len(set(labels)) < len(labels) or not all(labels) or any(set(label) & set("\n\r") for label in labels):
        raise top.wrong("different class names, each a line of text", "others", "labels")
    if labels_digest(labels) != artifact.model.labels_sha256:
        raise top.wrong("the labels whose digest is model.labels_sha256", "others", "labels")


def _model(fields: Fields) -> Identity:
    identity = Identity.read(fields)
    if not FILE.fullmatch(identity.name) or len(identity.name) > 200:
        raise fields.wrong("a name that can be a file's", shown(identity.name), "name")
    if not all(map(str.isascii, identity.network_args)):
        raise fields.wrong("names of constructor arguments in ASCII", "others", "network_args")
    return identity


def _source(fields: Fields | None) -> dict | None:
    if fields is None:
        return None
    source = {"file": fields.matching("file", FILE, FILE_WORDS), "sha256": fields.digest("sha256")}
    fields.done()
    return source


def _deviation(fields: Fields | None) -> dict | None:
    if fields is None:
        return None
    deviation = {key: fields.take(key, float) for key in ("max_difference", "cosine")}
    fields.done()
    return deviation


def is_prepared(sizes: tuple[int, ...]) -> bool:
    """Whether a card's compiler prepares a model for these batch sizes."""
    within = all(1 <= size <= LARGEST_PREPARED for size in sizes)
    return len(sizes) <= MOST_PREPARED and list(sizes) == sorted(set(sizes)) and within


def _device(fields: Fields | None) -> Device | None:
    if fields is None:
        return None
    device = Device(
        fields.one_of("family", "cpu", *FAMILIES),
        fields.take("chip", str, optional=True),
        fields.values("batches", int),
    )
    fields.done()
    if device.chip is not None and (device.family == "cpu" or not CHIP_NAME.fullmatch(device.chip)):
        raise fields.wrong("null, or a card's exact name such as Ascend310P3", shown(device.chip), "chip")
    if not is_prepared(device.batches):
        raise fields.wrong(f"rising sizes from 1 to {LARGEST_PREPARED}", list(device.batches), "batches")
    return device


def _shape(fields: Fields, axes: int) -> tuple[int, ...]:
    shape = fields.values("shape", int)
    if (
        len(shape) != axes
        or not (shape[0] == -1 or 1 <= shape[0] <= LARGEST_SIDE)
        or not all(1 <= size <= LARGEST_SIDE for size in shape[1:])
    ):
        raise fields.wrong(
            f"{axes} sizes from 1 to {LARGEST_SIDE}, the first -1 where it may vary", list(shape), "shape"
        )
    return shape


def _input(fields: Fields) -> Port:
    port = Port(
        name=fields.take("name", str),
        dtype=fields.one_of("dtype", "float32", "uint8"),
        shape=_shape(fields, 4),
        layout=fields.one_of("layout", "NCHW", "NHWC"),
        values=fields.one_of("values", "normalized", "pixels"),
    )
    fields.done()
    if port.dtype == "uint8" and port.values != "pixels":
        raise fields.wrong("'pixels', as uint8 holds no others", port.values, "values")
    return port


def _output(fields: Fields) -> Port:
    port = Port(fields.one_of("name", "logits", "probabilities"), fields.one_of("dtype", "float32"), _shape(fields, 2))
    fields.done()
    return port
