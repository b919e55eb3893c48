"""What the networks are: their specs, their input, their checkpoints. Importing this does not import MindSpore."""

from importlib import import_module

_HOMES = {
    "InputSpec": "input_spec",
    "Family": "family",
    "ModelSpec": "family",
    "PublishedResult": "family",
    "create": "specs",
    "names": "specs",
    "spec": "specs",
    "Checkpoint": "checkpoint",
    "load_checkpoint_into": "checkpoint",
    "read_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "weights_digest": "checkpoint",
    "network_arguments": "identify",
    "network_name": "identify",
}
__all__ = list(_HOMES)


def __getattr__(name):
    # Names are looked up when they are used: a command that needs one table does not wait for NumPy.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
