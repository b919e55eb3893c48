"""What is known of a family of networks, in one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .input_spec import InputSpec


@dataclass(frozen=True)
class PublishedResult:
    """An accuracy on ImageNet-2012's 50,000 validation pictures as its authors report it, in fractions of one."""

    top1: float
    top5: float | None
    device: str
    source: str


@dataclass(frozen=True)
class ModelSpec:
    """A network that `create` makes.

    Args:
        name: its name in the registry.
        arguments: of the family's class: its depth and widths.
        parameters: trainable parameters with 1000 classes.
        input: how a picture becomes its input.
        paper: title and address.
        published: accuracies of published checkpoints.
        recipe: the name of the recipe that trains it on ImageNet, or None.

    `family` is the Family that lists it.
    """

    name: str
    arguments: dict
    parameters: int
    input: InputSpec
    paper: str
    published: tuple[PublishedResult, ...] = ()
    recipe: str | None = None
    family: Family = field(init=False, repr=False, compare=False)

    @property
    def class_name(self) -> str:
        """The name of the network's class."""
        return self.family.class_name

    @property
    def constructor(self):
        """The network's class; MindSpore is imported with it."""
        return self.family.constructor

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that define the network, the class's own first."""
        return self.family.sources


@dataclass(frozen=True)
class Naming:
    """One way in which checkpoints name a network's tensors.

    Args:
        name: what users and reports call it.
        mark: pattern of tensor names that every network has in this naming and none in another.
        to_canonical: a checkpoint's arrays under the names that the network's class gives its parameters.
        from_canonical: the way back, bit for bit; also takes the number of groups of the 3x3 convolutions.
        stem_pool: the MaxPool padding that the weights were trained with, where the class has that argument.

    `family` is the Family that lists it.
    """

    name: str
    mark: str
    to_canonical: Callable[[dict], dict] = dict
    from_canonical: Callable[[dict, int], dict] = lambda weights, groups: dict(weights)
    stem_pool: str = "same"
    family: Family = field(init=False, repr=False, compare=False)


@dataclass(frozen=True)
class Family:
    """The networks of one class. A new family is a file with this record beside its network, and a line in families.py.

    Args:
        name: in reports and messages.
        class_name: of the network's class, which takes num_classes, in_channels and include_top among others.
        modules: that the class is written in, its own first; together they need MindSpore alone.
        arguments: what the class takes, in its order; for each either the possible values or a check, which is given
            the value and all arguments and returns what should have been there, or None.
        sizes: from all arguments, (tensors, values) of each layer; batch norm's statistics count.
        read_arguments: from arrays by canonical name, the class's arguments but the classifier's. KeyError, IndexError,
            ValueError and ZeroDivisionError stand for a missing tensor or an impossible shape.
        classifier: what the canonical names of the classifier's weight and bias begin with.
        namings: of its checkpoints; the canonical one converts nothing.
        before_relu: pattern of the batch norms, by canonical name, whose output goes straight into a ReLU.
        idle_while_zero: patterns of tensors that start at zero and keep a part of the network without effect; the
            pattern's group names that part, the value says what a report calls several of them.
        repo_link: where the published implementation stands. The official client opens it before it loads a package,
            and takes its last part as the name of the folder beside the card.
        networks: the registered ones.
        side_multiple: the sides of the pictures must be multiples of it.
    """

    name: str
    class_name: str
    modules: tuple[str, ...]
    arguments: dict[str, tuple | Callable]
    sizes: Callable[[dict], list[tuple[int, int]]]
    read_arguments: Callable[[dict], dict]
    classifier: str
    namings: tuple[Naming, ...]
    before_relu: str
    idle_while_zero: dict[str, str]
    repo_link: str
    networks: tuple[ModelSpec, ...]
    side_multiple: int = 1

    def __post_init__(self):
        for key in ("namings", "networks"):
            members = tuple(replace(member) for member in getattr(self, key))
            for member in members:
                object.__setattr__(member, "family", self)
            object.__setattr__(self, key, members)

    @property
    def constructor(self):
        """The network's class; MindSpore is imported with it."""
        return getattr(import_module(self.modules[0]), self.class_name)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files of `modules`, found without importing them."""
        return tuple(Path(find_spec(module).origin) for module in self.modules)  # type: ignore[union-attr, arg-type]
