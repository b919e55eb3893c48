"""The contract of an exported or converted model: one JSON beside the file, written here, read by every later step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from glorext.models import InputSpec
from glorext.models.labels import labels_digest
from glorext.runtime import DataError, IntegrityError, UsageError, read_json, sha256_file, write_json

SCHEMA = "glorext.artifact/1"
FORMATS = ("mindir", "onnx", "air", "ms", "lite-mindir")


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
class Artifact:
    """A model file together with what it expects, what it computes and where it comes from.

    Attributes:
        file: file name, relative to the contract.
        format: one of FORMATS; "lite-mindir" is what the MindSpore Lite converter writes as .mindir.
        name: the model's name, as published.
        size: bytes of the file.
        sha256: digest of the file.
        weights_sha256: digest of the weights it was made from (`models.weights_digest`).
        source: file and sha256 of the model it was converted from; None when exported from the network.
        input: the input's contract.
        output: the output's contract: logits or probabilities.
        input_spec: how a picture becomes the input.
        labels: class names in the order of the logits; empty when unknown.
        versions: of what made it.
        weights_dtype: what the kernels and matrices are stored in, "float32" or "float16".
        deviation: how far the outputs moved by storing them so, on the golden inputs: {"max_difference", "cosine"};
            None for float32.
    """

    file: str
    format: str
    name: str
    size: int
    sha256: str
    weights_sha256: str
    source: dict | None
    input: Port
    output: Port
    input_spec: InputSpec
    labels: tuple[str, ...]
    versions: dict = field(default_factory=dict)
    weights_dtype: str = "float32"
    deviation: dict | None = None

    def to_dict(self) -> dict:
        """The contract as JSON values."""
        values = {"schema": SCHEMA, **asdict(self)}
        values["input_spec"] = self.input_spec.to_dict()
        values["labels_sha256"] = labels_digest(self.labels)
        for key in ("layout", "values"):
            values["output"].pop(key)
        return values


def contract_path(model) -> Path:
    """Where the contract of a model file stands."""
    return Path(f"{model}.json")


def write_artifact(model: Path, **values) -> Artifact:
    """Write the contract of a finished model file beside it; the arguments are Artifact's other fields."""
    model = Path(model)
    artifact = Artifact(file=model.name, size=model.stat().st_size, sha256=sha256_file(model), **values)
    write_json(contract_path(model), artifact.to_dict())
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
    values = read_json(path)
    try:
        if values["schema"] != SCHEMA or values["format"] not in FORMATS:
            raise ValueError(f"schema {values['schema']!r}, format {values['format']!r}")
        artifact = Artifact(
            file=values["file"],
            format=values["format"],
            name=values["name"],
            size=values["size"],
            sha256=values["sha256"],
            weights_sha256=values["weights_sha256"],
            source=values["source"],
            input=_port(values["input"]),
            output=_port(values["output"]),
            input_spec=InputSpec.from_dict(values["input_spec"]),
            labels=tuple(values["labels"]),
            versions=values["versions"],
            weights_dtype=values["weights_dtype"],
            deviation=values["deviation"],
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise DataError(
            expected=f"a contract of schema {SCHEMA}",
            found=f"{type(error).__name__}: {error}",
            where=path,
            do="Make the model again with `glorext export` or `glorext convert`.",
        ) from error
    found = sha256_file(model)
    if found != artifact.sha256:
        raise IntegrityError(
            expected=f"sha256 {artifact.sha256[:16]}... ({artifact.size:,} bytes)",
            found=f"{found[:16]}... ({model.stat().st_size:,} bytes)",
            where=model,
            do="The file was changed or cut off after it was made: make or copy it again.",
        )
    return artifact


def _port(values: dict) -> Port:
    return Port(
        values["name"],
        values["dtype"],
        tuple(int(size) for size in values["shape"]),
        values.get("layout", ""),
        values.get("values", ""),
    )
