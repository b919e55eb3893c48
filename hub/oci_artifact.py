"""A package as an artifact of the CNCF ModelPack specification: a manifest and a config, and the files as raw layers.

A layer's digest is the file's own SHA-256, so nothing is packed, and equal files of two versions are one blob. What
`load` asks of an index stands in an annotation. The same package gives the same bytes.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from glorext.models import spec
from glorext.models.arguments import network_size
from glorext.runtime import DataError, RegistryError, json_bytes, sha256_bytes
from glorext.runtime.fields import Fields
from glorext.runtime.files import parse_json

from .index import Release, read_notices_of, read_release
from .manifest import MANIFEST, FileEntry, Manifest
from .oci import MANIFEST_TYPE

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY, EMPTY_SHA256 = b"{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
PATH, METADATA = "org.cncf.model.filepath", "org.cncf.model.file.metadata+json"
TITLE, RELEASE, NOTICES = "org.opencontainers.image.title", "org.glorext.release", "org.glorext.notices"
ENDINGS = {
    "weight": (".ckpt", ".mindir", ".ms", ".om", ".onnx", ".npz", ".npy"),
    "weight.config": (".json", ".jsonl", ".txt", ".yaml"),
    "code": (".py",),
}


def artifact(manifest: Manifest, release: Release) -> tuple[bytes, bytes]:
    """Manifest and config of the artifact that a package is."""
    files = {MANIFEST: release.manifest, **manifest.files}
    _, parameters = network_size(spec(manifest.network), manifest.arguments)
    config = json_bytes(
        {
            "descriptor": {
                "name": manifest.name,
                "version": manifest.version,
                "family": manifest.network,
                "title": f"{manifest.name} {manifest.version}",
                "description": manifest.summary,
                "licenses": [manifest.license],
                **({"revision": manifest.commit} if manifest.commit else {}),
            },
            "config": {
                "architecture": manifest.network,
                "format": "mindspore",
                "paramSize": f"{parameters / 1e6:.1f}M",
                "precision": "float32",
                "capabilities": {"inputTypes": ["image"], "outputTypes": ["other"]},
            },
            "modelfs": {"type": "layers", "diffIds": [f"sha256:{entry.sha256}" for entry in files.values()]},
        }
    )
    said = json.dumps(release.to_dict(), sort_keys=True)
    layers = [_layer(path, entry) for path, entry in files.items()]
    shown = {"title": manifest.name, "version": manifest.version, "licenses": manifest.license}
    annotations = {f"org.opencontainers.image.{key}": value for key, value in shown.items()}
    return json_bytes(_manifest(ARTIFACT, CONFIG, config, layers, annotations | {RELEASE: said})), config


def _manifest(artifact_type: str, config_type: str, config: bytes, layers: list[dict], annotations: dict) -> dict:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": artifact_type,
        "config": {"mediaType": config_type, "digest": f"sha256:{sha256_bytes(config)}", "size": len(config)},
        "layers": layers,
        "annotations": annotations,
    }


def _layer(path: str, entry: FileEntry) -> dict:
    ending = PurePosixPath(path).suffix.lower()
    kind = next((kind for kind, endings in ENDINGS.items() if ending in endings), "doc")
    # what a file system says of it; a package keeps none of that
    metadata = {"name": path, "mode": 0o644, "uid": 0, "gid": 0, "size": entry.size}
    metadata |= {"mtime": "1970-01-01T00:00:00Z", "typeflag": ord("0")}
    return {
        "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw",
        "digest": f"sha256:{entry.sha256}",
        "size": entry.size,
        "annotations": {PATH: path, TITLE: path, METADATA: json.dumps(metadata, sort_keys=True)},
    }


def release_of(data: bytes, where: str) -> Release | None:
    """What an artifact's manifest says of its package; None for something else than a package of glorext.

    Raises:
        RegistryError: it says that it is one, and contradicts itself.
    """
    try:
        top = parse_json(data, where)
        said = top["annotations"][RELEASE]
        layers = {layer["annotations"][PATH]: (layer["digest"], layer["size"]) for layer in top["layers"]}
    except (DataError, LookupError, TypeError):
        return None
    text = str(said).encode("utf-8", "replace")
    release = read_release(Fields.parse(text, f"{where}: {RELEASE}", None, RegistryError))
    if layers.get(MANIFEST) != (f"sha256:{release.manifest.sha256}", release.manifest.size):
        raise RegistryError(
            expected=f"the layer {MANIFEST} with sha256 {release.manifest.sha256}, as {RELEASE} says",
            found=str(layers.get(MANIFEST))[:200],
            where=where,
        )
    return release


def notices_artifact(notices: dict[str, dict[str, str]]) -> bytes:
    """The manifest that holds a publisher's notices, without layers but the empty one; its blob is EMPTY."""
    layer = {"mediaType": EMPTY_TYPE, "digest": f"sha256:{EMPTY_SHA256}", "size": len(EMPTY)}
    said = json.dumps(notices, sort_keys=True)
    return json_bytes(_manifest("application/vnd.glorext.notices.v1+json", EMPTY_TYPE, EMPTY, [layer], {NOTICES: said}))


def notices_of(data: bytes, where: str) -> dict[str, dict[str, str]]:
    """Version -> notice -> reason, from the bytes of `notices_artifact`; RegistryError for others."""
    said = Fields.parse(data, where, None, RegistryError).inner("annotations").take(NOTICES, str)
    fields = Fields.parse(said.encode("utf-8", "replace"), f"{where}: {NOTICES}", None, RegistryError)
    return read_notices_of(fields)
