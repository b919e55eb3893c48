"""ResNeXt50 and GloRe-ResNet50 for MindSpore: trained, published, loaded by name, deployed to Ascend 310.

    import glorext
    glorext.load("resnext50-digits").predict("7.png")           # what is on it
    net = glorext.hub.load("resnext50")        # pretrained, by name
    net = glorext.models.create("resnext50", num_classes=10)
    run = glorext.train("finetune", "my_folder", from_="resnext50", val_split=0.2, out="runs/mine")

The rooms, each standing on those before it: `runtime`, `models`, `hub`, `train`, `deploy`. Importing this imports none
of them, and no MindSpore.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds, for editors and type checkers
    from . import deploy, hub, models, runtime
    from .hub.classifier import load
    from .models import create
    from .train.api import train

__version__ = "0.1.0"
__all__ = ["__version__", "create", "deploy", "hub", "load", "models", "runtime", "train"]
_ROOMS = ("runtime", "models", "hub", "train", "deploy")
_FUNCTIONS = {"create": "models", "load": "hub.classifier"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name in _FUNCTIONS:
        return getattr(import_module(f".{_FUNCTIONS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
