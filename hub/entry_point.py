"""The entry point of a package for MindSpore Hub's client, which runs it: the same bytes for the same manifest."""

from __future__ import annotations

import json

from glorext.models import spec

from .card import environment
from .manifest import Manifest

CONF = "mindspore_hub_conf.py"


def module_name(manifest: Manifest) -> str:
    """The Python package beside the entry point, which holds the network's source."""
    # A name of its own: the official client never takes a package's folder out of sys.path again. The digest tells
    # a-b from a.b, and one publisher's package from another's of the same name.
    name = f"glorext_{manifest.name}_{manifest.version}_{manifest.weights_sha256[:8]}"
    return name.replace("-", "_").replace(".", "_")


def entry_point(manifest: Manifest) -> bytes:
    """The content of mindspore_hub_conf.py."""
    model = spec(manifest.network)
    # as JSON gives them back, so that the bytes are those of the packer's manifest and of one that was read
    arguments = json.loads(json.dumps({**model.arguments, **manifest.arguments}, sort_keys=True))
    text = (
        environment()
        .get_template(f"{CONF}.j2")
        .render(
            name=manifest.name,
            module=module_name(manifest),
            file=model.sources[0].stem,
            constructor=model.class_name,
            arguments=repr(arguments),
        )
    )
    return text.encode("ascii")
