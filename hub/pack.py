"""`glorext pack`: from a trained model to a package: weights, labels, card, evidence and the network's source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from glorext.models import ModelSpec, create, read_checkpoint, save_checkpoint, spec
from glorext.models.evaluation import EVAL, EvalResult, parse_evaluation
from glorext.models.labels import LABELS, write_labels
from glorext.models.metrics import METRICS
from glorext.models.trained import RUN, TrainedModel, read_run, run_date
from glorext.runtime import PackageError, UsageError, atomic_dir, sha256_file, version
from glorext.runtime.cli import parser

from .card import REPO_LINK, REPO_LINK_FORM, check_text, read_card, render_card
from .entry_point import CONF, entry_point, module_name
from .manifest import ARTIFACTS, MANIFEST, FileEntry, Manifest, check_name, check_path, check_version
from .open_model import add_model_arguments, chosen_model, open_model
from .verify import accuracy, evaluation, verify

CARD, RECIPE = "card.md", "recipe.yaml"
UNSTATED, NO_AUTHOR = "NOASSERTION", "not stated"  # the first is SPDX's word for a license that nobody has stated
RESIZE = {"squash": "resized to {0} x {0}", "short_side": "short side resized to {0}"}


@dataclass(frozen=True)
class Details:
    """What the publisher says about a package beyond what the run knows."""

    name: str
    version: str
    summary: str | None = None
    author: str | None = None
    repo_link: str | None = None
    base_url: str | None = None
    date: str | None = None
    license: str | None = None


def pack(what, out, details: Details, evidence=None, artifacts=None) -> Manifest:
    """Make the package folder `out` from a trained model.

    Args:
        what: a TrainedModel, or what `open_model` takes: a run's folder, with its eval.json and metrics.jsonl where
            there are some; a checkpoint whose labels are known.
        out: appears whole or not at all.
        details: name, version and what the card says.
        evidence: an eval.json in place of the run's own.
        artifacts: folder of exported and converted models with their contracts, and golden tensors; copied along.

    Returns:
        The manifest. The same inputs give the same bytes.

    Raises:
        PackageError, DataError: a part of the run is missing, or the evidence or an artifact belongs to other weights,
            preprocessing or labels.
        CheckpointError: the checkpoint is not the network that it is said to be.
        UsageError: a name, version or text that cannot be, no labels, no license for weights that were trained from
            another's, or `out` exists.
    """
    _check_details(details)
    model = what if isinstance(what, TrainedModel) else open_model(what)
    details = replace(details, license=details.license or _license(model), author=details.author or NO_AUTHOR)
    if not model.labels:
        raise UsageError(f"nothing says what the classes of {model.checkpoint} are called", do="Give --labels FILE.")
    checkpoint = read_checkpoint(model.checkpoint)
    # Only a network that takes every tensor is published.
    net = create(model.network, checkpoint=checkpoint, **model.arguments)
    manifest = _manifest_of(model, details)
    measured = _evidence(model, manifest, evidence)
    if measured:
        manifest = replace(manifest, evidence=EVAL, versions={**measured[0].versions, **manifest.versions})
    with atomic_dir(out) as folder:
        save_checkpoint(checkpoint.weights, folder / manifest.checkpoint)
        write_labels(folder / LABELS, model.labels)
        if measured:
            (folder / EVAL).write_bytes(measured[1])
        for name in (METRICS, RECIPE):
            if model.folder and (model.folder / name).is_file():
                shutil.copyfile(model.folder / name, folder / name)
        if artifacts:
            _copy_artifacts(Path(artifacts), folder / ARTIFACTS)
        link = details.repo_link or spec(model.network).family.repo_link
        _write_source(folder / link.rsplit("/", 1)[-1], spec(model.network), manifest)
        parameters = sum(parameter.size for parameter in net.trainable_params())
        date = details.date or _date(model)
        _write_card(folder, manifest, measured and measured[0], details, link, parameters, date, spec(model.network))
        manifest = replace(manifest, files=_entries(folder))
        (folder / MANIFEST).write_bytes(manifest.to_bytes())
        verify(folder)
    return manifest


def _manifest_of(model: TrainedModel, details: Details) -> Manifest:
    identity = replace(model.identity(), name=details.name, version=details.version, license=details.license)
    return Manifest(
        **vars(identity),
        summary=details.summary or f"{model.network} for {model.num_classes} classes",
        checkpoint=f"{details.name}.ckpt",
        card=CARD,
        labels=LABELS,
        evidence=None,
        commit=code_commit(),
        versions={"glorext": version()},
    )


def _license(model: TrainedModel) -> str:
    """The license where the publisher states none: that of the very same weights, or that nobody has stated one."""
    if model.folder and (model.folder / RUN).is_file():
        source = read_run(model.folder)[1]
        if source and source.license not in (None, UNSTATED):
            raise UsageError(
                expected=f"--license for weights that were trained from {source.name}, whose license is "
                f"{source.license}",
                found="none",
                do=f"State --license {source.license}, or the one that its terms and your pictures leave you.",
            )
    return model.license or UNSTATED


def _check_details(details: Details) -> None:
    check_name(details.name), check_version(details.version)
    for what in ("summary", "author", "license"):
        if (text := getattr(details, what)) is not None:
            check_text(text, f"--{what}")
    try:
        time.strptime(details.date or "2026-01-01", "%Y-%m-%d")
    except ValueError as error:
        raise UsageError(expected="a date of the form 2026-01-31", found=repr(details.date), where="--date") from error
    if details.repo_link is not None:
        if not REPO_LINK.fullmatch(details.repo_link):
            raise UsageError(expected=REPO_LINK_FORM, found=repr(details.repo_link), where="--repo-link")
        folder = check_path(details.repo_link.rsplit("/", 1)[-1], "--repo-link", UsageError)
        if folder.lower() in {ARTIFACTS, CARD, LABELS, EVAL, RECIPE, METRICS, MANIFEST, f"{details.name}.ckpt"}:
            raise UsageError(
                expected="a link whose last part can name a folder of the package",
                found=repr(folder),
                where="--repo-link",
            )
    if details.base_url is not None and not re.fullmatch(r"https?://[^\s<>\"?#]+", details.base_url):
        raise UsageError(
            expected="an http or https address without ? and #", found=repr(details.base_url), where="--base-url"
        )


def _evidence(model: TrainedModel, manifest: Manifest, given) -> tuple[EvalResult, bytes] | None:
    path = Path(given) if given else model.folder and model.folder / EVAL
    if path is None or not path.is_file():
        if given:
            raise PackageError(expected="an eval.json", found="no such file", where=path)
        return None
    data = path.read_bytes()
    evidence = parse_evaluation(data, path, PackageError)
    manifest.check_evidence(evidence, path, PackageError)
    return evidence, data


def _copy_artifacts(source: Path, target: Path) -> None:
    """Copy a folder of artifacts; `verify` then holds each sidecar against the manifest."""
    if not source.is_dir():
        raise UsageError(expected="a folder of artifacts", found=str(source), where="--artifacts")
    files = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise PackageError(expected="exported models", found="an empty folder", where=source)
    for path in files:
        name = check_path(path.relative_to(source).as_posix(), str(source))
        if path.is_symlink():
            raise PackageError(expected="files", found="a symbolic link", where=path)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)


def _write_source(folder: Path, model: ModelSpec, manifest: Manifest) -> None:
    module = folder / module_name(manifest)
    module.mkdir(parents=True)
    (module / "__init__.py").write_bytes(b"")
    for source in model.sources:
        shutil.copyfile(source, module / source.name)
    (folder / CONF).write_bytes(entry_point(manifest))


def _write_card(folder, manifest, evidence, details, link, parameters, date, model) -> None:
    # Without an address of its own, the checkpoint's link leads to the repository; the fragment only names the file.
    base = (
        details.base_url.rstrip("/") + f"/packages/{manifest.name}/{manifest.version}"
        if details.base_url
        else f"{link}#"
    )
    front = {
        "model-name": manifest.name,
        "backbone-name": manifest.network,
        "module-type": "cv",
        "fine-tunable": True,
        "model-version": manifest.version,
        "author": details.author,
        "update-time": date,
        "repo-link": link,
        "user-id": details.author,
        "used-for": "inference/extract-feature/transfer-learning",
        "mindspore-version": manifest.versions.get("mindspore") or _mindspore_version(),
        "license": manifest.license,
        "summary": manifest.summary,
        "asset": [
            {
                "file-format": "ckpt",
                "asset-link": f"{base}/{manifest.checkpoint}",
                "asset-sha256": sha256_file(folder / manifest.checkpoint),
            }
        ],
    }
    if evidence:
        front |= {"evaluation": evaluation(evidence), "accuracy": accuracy(evidence)}
    text = render_card(
        front,
        manifest=manifest,
        eval=evidence,
        source=model,
        parameters=parameters,
        resize_text=RESIZE[manifest.input_spec.resize_rule].format(manifest.input_spec.resize),
    )
    (folder / CARD).write_text(text, encoding="ascii")


def _mindspore_version() -> str:
    from importlib.metadata import version as installed

    return installed("mindspore")


def _date(model: TrainedModel) -> str:
    """The day of the weights: what a run or a package says, whose copy's files are younger; else the file's."""
    if model.folder and (model.folder / RUN).is_file():
        return run_date(model.folder)
    if model.folder and (model.folder / CARD).is_file():
        return str(read_card(model.folder / CARD)[0]["update-time"])
    return time.strftime("%Y-%m-%d", time.gmtime(model.checkpoint.stat().st_mtime))


def code_commit() -> str | None:
    """The commit of glorext's code with "+changes" where files differ from it; None outside a git checkout."""

    def git(*words):
        done = subprocess.run(["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # an installed copy may lie inside some other project's checkout
        if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
            return None
        commit = git("rev-parse", "HEAD")
        return commit and commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except FileNotFoundError:
        return None


def _entries(folder: Path) -> dict[str, FileEntry]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        check_path(path.relative_to(folder).as_posix(), str(folder)): FileEntry(path.stat().st_size, sha256_file(path))
        for path in paths
    }


def main(argv: list[str]) -> None:
    """`glorext pack MODEL --name NAME --version VERSION --out PKG`."""
    arguments = parser(
        "pack",
        "Make a model package from a trained model.",
        "glorext pack outputs/digits --name resnext50-digits --version 1.0.0 --out packages/resnext50-digits",
    )
    add_model_arguments(arguments)
    arguments.add_argument("--name", required=True, help="what the model is loaded by")
    arguments.add_argument("--version", required=True, help="MAJOR.MINOR.PATCH")
    arguments.add_argument("--out", required=True, metavar="PKG", help="the package folder; must not exist yet")
    arguments.add_argument("--eval", metavar="FILE", help="an eval.json in place of the run's own")
    arguments.add_argument("--artifacts", metavar="DIR", help="exported and converted models to ship along")
    arguments.add_argument("--summary", help="one line for the card, ASCII, without a colon")
    arguments.add_argument("--author", help=f"for the card (default: {NO_AUTHOR})")
    arguments.add_argument(
        "--license",
        help="of the weights, as an SPDX name; needed where they were trained from weights under a license (default: "
        f"that of a package or a name, {UNSTATED} for weights trained from random ones)",
    )
    arguments.add_argument("--repo-link", help="where the network's code is published, for the card")
    arguments.add_argument("--base-url", help="address that the registry will be served from, for the card")
    arguments.add_argument("--date", help="YYYY-MM-DD for the card (default: the day of the weights)")
    arguments.add_argument("--json", action="store_true", help="print the manifest as JSON")
    options = arguments.parse_args(argv)
    keys = ("name", "version", "summary", "author", "repo_link", "base_url", "date", "license")
    details = Details(**{key: getattr(options, key) for key in keys})
    _check_details(details)
    manifest = pack(chosen_model(options), options.out, details, options.eval, options.artifacts)
    if options.json:
        print(json.dumps(manifest.to_dict(), indent=2))
    else:
        print(
            f"{manifest.name}@{manifest.version}: {len(manifest.files)} files, {manifest.size / 1e6:.1f} MB in "
            f"{options.out}"
            + ("" if manifest.evidence else "; no eval.json, so the card claims no accuracy")
            + ("; no --license, so nobody may rely on one" if manifest.license == UNSTATED else "")
        )
