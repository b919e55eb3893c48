"""`glorext verify`: whether a package is whole, consistent and backed by its evidence. No network, no MindSpore."""

from __future__ import annotations

import json
import os
from pathlib import Path

from glorext.models import network_arguments, read_checkpoint, spec, weights_digest
from glorext.models.arguments import DEFAULTS, network_size
from glorext.models.evaluation import EvalResult
from glorext.models.formats import require_no_pickle
from glorext.models.metrics import METRICS, read_epochs
from glorext.models.trained import Identity
from glorext.runtime import IntegrityError, PackageError, printable, sha256_bytes, sha256_file, version
from glorext.runtime.cli import parser
from glorext.runtime.fields import Fields

from .cache import is_intact
from .card import read_card
from .entry_point import CONF, entry_point, module_name
from .manifest import ARTIFACTS, MANIFEST, Manifest, read_evidence, read_labels, read_manifest
from .registry import inside

MAKE_AGAIN = "Export and convert the checkpoint of this package again."


def verify(folder) -> tuple[Manifest, EvalResult | None]:
    """Check the package in `folder`; its manifest and evidence.

    Every file must be listed, regular, and have its size and SHA-256; the entry point for MindSpore Hub's client must
    be the one that the manifest gives, to the byte; the card must be MindSpore Hub's format and
    say of the checkpoint and its accuracy what manifest and evidence say; the weights inside the checkpoint, the
    preprocessing and the labels must be those that the evidence was measured with and the artifacts were made of.

    Raises:
        PackageError: something is missing, superfluous or contradicts the manifest.
        IntegrityError: a file has other bytes.
        CheckpointError: the checkpoint is damaged or not one.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    read_labels(folder / manifest.labels, manifest)
    _check_checkpoint(folder / manifest.checkpoint, manifest)
    _check_artifacts(folder, manifest)
    if METRICS in manifest.files:
        read_epochs(folder / METRICS, PackageError)
    evidence = read_evidence(folder, manifest)
    _check_card(folder, manifest, evidence)
    return manifest, evidence


def _check_files(folder: Path, manifest: Manifest) -> None:
    for file, entry in manifest.files.items():
        path = inside(folder, file)
        if not path.is_file():
            raise PackageError(expected=f"the file {file}", found="none", where=folder)
        if not is_intact(path, entry):
            raise IntegrityError(
                expected=f"{entry.size:,} bytes with sha256 {entry.sha256}",
                found=f"{path.stat().st_size:,} bytes and another digest",
                where=path,
            )
    listed = {MANIFEST, *manifest.files}
    for parent, folders, files in os.walk(folder):
        for name in files + [entry for entry in folders if os.path.islink(os.path.join(parent, entry))]:
            file = os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
            if file not in listed:
                raise PackageError(expected="only files that the manifest lists", found=file, where=folder)


def _check_checkpoint(path: Path, manifest: Manifest) -> None:
    require_no_pickle(path)
    checkpoint = read_checkpoint(path)
    found = weights_digest(checkpoint)
    if found != manifest.weights_sha256:
        raise PackageError(expected=f"weights_sha256 {manifest.weights_sha256}", found=found, where=path)
    model = spec(manifest.network)
    wanted = DEFAULTS | model.arguments | manifest.arguments
    for key, value in network_arguments(checkpoint).items():
        # tuples and lists are one in JSON
        if json.dumps(wanted[key]) != json.dumps(value):
            raise PackageError(
                expected=f"a checkpoint with {key} {wanted[key]}, as the manifest says", found=value, where=path
            )
    size, expected = len(checkpoint.weights), network_size(model, wanted)[0]
    if size != expected:
        raise PackageError(expected=f"all {expected} tensors of the network and no others", found=size, where=path)


def _check_artifacts(folder: Path, manifest: Manifest) -> None:
    """Exported and converted models must be of these weights, this preprocessing and these labels."""
    for file in manifest.files:
        model = file.removesuffix(".json")
        if not file.startswith(f"{ARTIFACTS}/") or file == model or model not in manifest.files:
            continue
        contract = Fields.read(folder / file, error=PackageError, do=MAKE_AGAIN)
        found = Identity.read(contract.inner("model"))
        if difference := manifest.difference(found):
            raise PackageError(f"an artifact of {difference}", where=folder / file, do=MAKE_AGAIN)
        if contract.digest("sha256") != manifest.files[model].sha256:
            raise contract.wrong(f"sha256 {manifest.files[model].sha256}", "another", "sha256")


def _check_card(folder: Path, manifest: Manifest, evidence: EvalResult | None) -> None:
    path = folder / manifest.card
    front, _ = read_card(path)

    def must(key, expected, found):
        if found != expected:
            raise PackageError(expected=repr(expected), found=repr(found), where=f"{path}: {key}")

    must("model-name", manifest.name, front["model-name"])
    must("model-version", manifest.version, front["model-version"])
    must("license", manifest.license, front["license"])
    must("summary", manifest.summary, front["summary"])
    checkpoints = [asset for asset in front.get("asset", []) if asset["file-format"] == "ckpt"]
    if not checkpoints:
        raise PackageError(expected="an asset with file-format ckpt", found="none", where=path)
    # the official client takes the last one, under the last part of its link, from the card's folder
    must("asset-sha256", manifest.files[manifest.checkpoint].sha256, checkpoints[-1]["asset-sha256"])
    must("asset-link", manifest.checkpoint, checkpoints[-1]["asset-link"].rsplit("/", 1)[-1])
    conf = f"{front['repo-link'].rsplit('/', 1)[-1]}/{CONF}"
    if conf not in manifest.files:
        raise PackageError(expected=f"the file {conf}, as the card's repo-link says", found="none", where=folder)
    if (folder / conf).read_bytes() != entry_point(manifest):
        # MindSpore Hub's client runs it
        raise PackageError(
            expected="the entry point that `glorext pack` writes for this manifest",
            found="another",
            where=folder / conf,
            do="Do not load it with MindSpore Hub's client; pack the model again.",
        )
    must("accuracy", evidence and accuracy(evidence), front.get("accuracy"))
    must("evaluation", evidence and evaluation(evidence), front.get("evaluation"))


def differing_sources(folder, manifest: Manifest) -> list[str]:
    """The files beside a verified package's entry point that are not the installed network's, or are missing or more.

    glorext runs none of them; MindSpore Hub's client does. Another version of glorext may write the network otherwise.
    """
    repository = read_card(Path(folder) / manifest.card)[0]["repo-link"].rsplit("/", 1)[-1]
    found = {
        path.removeprefix(f"{repository}/"): entry.sha256
        for path, entry in manifest.files.items()
        if path.startswith(f"{repository}/") and path != f"{repository}/{CONF}"
    }
    module = module_name(manifest)
    installed = {f"{module}/{source.name}": sha256_file(source) for source in spec(manifest.network).sources}
    installed[f"{module}/__init__.py"] = sha256_bytes(b"")
    differing = sorted(path for path in found.keys() | installed.keys() if found.get(path) != installed.get(path))
    return [f"{repository}/{path}" for path in differing]


def sources_note(folder, manifest: Manifest) -> str:
    """A sentence on `differing_sources` for whoever trusts or publishes the package; empty where there are none."""
    differing = differing_sources(folder, manifest)
    if not differing:
        return ""
    packer = printable(manifest.versions.get("glorext", "another"))
    return (
        f"not the source of the network as glorext {version()} has it (packed by glorext {packer}): "
        f"{', '.join(differing)}. `load` runs none of it, MindSpore Hub's own client does: read it first."
    )


def accuracy(evidence: EvalResult) -> float:
    """Top-1 in percent, as a card shows it."""
    return round(evidence.top1 * 100, 4)


def evaluation(evidence: EvalResult) -> str:
    """The card's line of accuracies, in the form that MindSpore Hub's cards use."""
    top5 = "" if evidence.top5 is None else f" | top5acc{evidence.top5 * 100:.2f}"
    return f"top1acc{evidence.top1 * 100:.2f}{top5}"


def evaluation_text(evidence: EvalResult) -> str:
    """Its accuracies in percent, as a sentence takes them."""
    top5 = "" if evidence.top5 is None else f", top-5 {evidence.top5 * 100:.2f} %"
    return f"top-1 {evidence.top1 * 100:.2f} %{top5}"


def main(argv: list[str]) -> None:
    """`glorext verify PKG`."""
    arguments = parser(
        "verify",
        "Check a package to the byte, without network and without MindSpore.",
        "glorext verify packages/resnext50-digits",
    )
    arguments.add_argument("package", help="the package folder")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    manifest, evidence = verify(options.package)
    measured = {"top1": evidence.top1, "top5": evidence.top5, "count": evidence.count} if evidence else None
    if options.json:
        print(
            json.dumps(
                {
                    "name": manifest.name,
                    "version": manifest.version,
                    "manifest_sha256": manifest.digest(),
                    "files": len(manifest.files),
                    "size": manifest.size,
                    "evidence": measured,
                    "differing_sources": differing_sources(options.package, manifest),
                },
                indent=2,
            )
        )
        return
    print(
        f"{manifest.name}@{manifest.version}: {len(manifest.files)} files, {manifest.size / 1e6:.1f} MB, all whole; "
        f"manifest sha256 {manifest.digest()}"
    )
    print(
        f"measured: {evaluation_text(evidence)} of {evidence.count} "
        f"pictures, with these weights, this preprocessing and these labels"
        if evidence
        else "no evidence: the accuracy of these weights was not measured"
    )
    if note := sources_note(options.package, manifest):
        print(note)
