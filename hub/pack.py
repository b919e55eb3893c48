"""`glorext pack`: from a training run to a package: weights, labels, card, evidence and the network's source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from glorext.models import ModelSpec, create, read_checkpoint, save_checkpoint, spec, weights_digest
from glorext.models.labels import LABELS, labels_digest, read_labels, write_labels
from glorext.runtime import PackageError, UsageError, atomic_dir, sha256_file, version
from glorext.runtime.cli import parser
from glorext.train.evaluate import EvalResult

from .card import REPO_LINK, REPO_LINK_FORM, check_text, environment, render_card
from .evidence import METRICS, check_evidence, parse_evidence
from .manifest import MANIFEST, FileEntry, Manifest, check_name, check_path, check_version
from .verify import ARTIFACTS, CONF, accuracy, evaluation, verify

CARD, EVAL, RECIPE = "card.md", "eval.json", "recipe.yaml"
RESIZE = {"squash": "resized to {0} x {0}", "short_side": "short side resized to {0}"}


@dataclass(frozen=True)
class Details:
    """What the publisher says about a package beyond what the run knows."""

    name: str
    version: str
    summary: str | None = None
    author: str = "glorext"
    repo_link: str | None = None
    base_url: str | None = None
    date: str | None = None


def pack(run, out, details: Details, evidence=None, artifacts=None) -> Manifest:
    """Make the package folder `out` from the training run in the folder `run`.

    Args:
        run: holds recipe.yaml, labels.txt, best.ckpt and, where there are, eval.json and metrics.jsonl.
        out: appears whole or not at all.
        details: name, version and what the card says.
        evidence: an eval.json in place of the run's own.
        artifacts: folder of exported and converted models with their sidecars, and golden tensors; copied along.

    Returns:
        The manifest. The same inputs give the same bytes.

    Raises:
        PackageError, DataError: a part of the run is missing, or the evidence or an artifact belongs to other weights,
            preprocessing or labels.
        CheckpointError: the checkpoint is not the recipe's network.
        UsageError: a name, version or text that cannot be, or `out` exists.
    """
    _check_details(details)
    run = Path(run)
    recipe, labels = _recipe(run / RECIPE), read_labels(run / LABELS)
    if recipe.num_classes not in (None, len(labels)):
        raise PackageError(
            expected=f"{recipe.num_classes} labels, as {RECIPE} says", found=len(labels), where=run / LABELS
        )
    model = spec(recipe.network)
    checkpoint = read_checkpoint(run / "best.ckpt")
    arguments = json.loads(json.dumps(recipe.network_args))
    if checkpoint.naming.stem_pool != "same":
        arguments.setdefault("stem_pool", checkpoint.naming.stem_pool)
    # Only a network that takes every tensor is published.
    net = create(recipe.network, checkpoint=checkpoint, num_classes=len(labels), **arguments)
    parameters = sum(parameter.size for parameter in net.trainable_params())
    manifest = Manifest(
        name=details.name,
        version=details.version,
        network=recipe.network,
        network_args=arguments,
        num_classes=len(labels),
        input=recipe.input_spec(),
        labels_sha256=labels_digest(labels),
        licence=model.license,
        summary=details.summary or f"{recipe.network} for {len(labels)} classes",
        checkpoint=f"{details.name}.ckpt",
        weights_sha256=weights_digest(checkpoint),
        card=CARD,
        labels=LABELS,
        evidence=None,
        commit=code_commit(),
        versions={"glorext": version()},
    )
    measured = _evidence(Path(evidence) if evidence else run / EVAL, manifest, required=evidence is not None)
    if measured:
        manifest = replace(manifest, evidence=EVAL, versions={**measured[0].versions, **manifest.versions})
    with atomic_dir(out) as folder:
        save_checkpoint(checkpoint.weights, folder / manifest.checkpoint)
        write_labels(folder / LABELS, labels)
        if measured:
            (folder / EVAL).write_bytes(measured[1])
        for name in (METRICS, RECIPE):
            if (run / name).is_file():
                shutil.copyfile(run / name, folder / name)
        if artifacts:
            _copy_artifacts(Path(artifacts), folder / ARTIFACTS)
        link = details.repo_link or model.family.repo_link
        _write_source(folder / link.rsplit("/", 1)[-1], model, manifest)
        _write_card(
            folder,
            manifest,
            measured and measured[0],
            details,
            link,
            parameters,
            details.date or _date(run / "best.ckpt"),
            model,
        )
        manifest = replace(manifest, files=_entries(folder))
        (folder / MANIFEST).write_bytes(manifest.to_bytes())
        verify(folder)
    return manifest


def _check_details(details: Details) -> None:
    check_name(details.name), check_version(details.version)
    for what in ("summary", "author"):
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


def _recipe(path: Path):
    from glorext.train.recipe import load_recipe

    if not path.is_file():
        raise PackageError(
            expected=f"a training run with {RECIPE}, {LABELS} and best.ckpt", found=f"no {path.name}", where=path.parent
        )
    return load_recipe(path)


def _evidence(path: Path, manifest: Manifest, required: bool) -> tuple[EvalResult, bytes] | None:
    if not path.is_file():
        if required:
            raise PackageError(expected="an eval.json", found="no such file", where=path)
        return None
    data = path.read_bytes()
    evidence = parse_evidence(data, path)
    check_evidence(
        evidence,
        weights_sha256=manifest.weights_sha256,
        preprocessing_sha256=manifest.input.digest(),
        labels_sha256=manifest.labels_sha256,
        num_classes=manifest.num_classes,
        network=manifest.network,
        where=path,
    )
    return evidence, data


def _copy_artifacts(source: Path, target: Path) -> None:
    """Copy a folder of artifacts; `verify` then holds each sidecar against the manifest."""
    if not source.is_dir():
        raise UsageError(expected="a folder of artifacts", found=str(source), where="--artifacts")
    files = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise PackageError(expected="exported models", found="an empty folder", where=source)
    for path in files:
        name = check_path(path.relative_to(source).as_posix(), source)
        if path.is_symlink():
            raise PackageError(expected="files", found="a symbolic link", where=path)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)


def _write_source(folder: Path, model: ModelSpec, manifest: Manifest) -> None:
    # A name of its own: the official client never takes a package's folder out of sys.path again. The digest tells
    # a-b from a.b, and one publisher's package from another's of the same name.
    module = f"glorext_{manifest.name}_{manifest.version}_{manifest.weights_sha256[:8]}"
    module = module.replace("-", "_").replace(".", "_")
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_bytes(b"")
    for source in model.sources:
        shutil.copyfile(source, folder / module / source.name)
    arguments = {**model.arguments, **manifest.network_args, "num_classes": manifest.num_classes}
    text = (
        environment()
        .get_template(f"{CONF}.j2")
        .render(
            name=manifest.name,
            module=module,
            file=model.sources[0].stem,
            constructor=model.class_name,
            arguments=repr(arguments),
        )
    )
    (folder / CONF).write_text(text, encoding="ascii")


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
        "license": manifest.licence,
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
        resize_text=RESIZE[manifest.input.resize_rule].format(manifest.input.resize),
    )
    (folder / CARD).write_text(text, encoding="ascii")


def _mindspore_version() -> str:
    from importlib.metadata import version as installed

    return installed("mindspore")


def _date(path: Path) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))


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
        check_path(path.relative_to(folder).as_posix(), folder): FileEntry(path.stat().st_size, sha256_file(path))
        for path in paths
    }


def main(argv: list[str]) -> None:
    """`glorext pack RUN --name NAME --version VERSION --out PKG`."""
    arguments = parser(
        "pack",
        "Make a model package from a training run.",
        "glorext pack outputs/digits --name resnext50-digits --version 1.0.0 --out packages/resnext50-digits",
    )
    arguments.add_argument("run", help="folder of the training run")
    arguments.add_argument("--name", required=True, help="what the model is loaded by")
    arguments.add_argument("--version", required=True, help="MAJOR.MINOR.PATCH")
    arguments.add_argument("--out", required=True, metavar="PKG", help="the package folder; must not exist yet")
    arguments.add_argument("--eval", metavar="FILE", help="an eval.json in place of the run's own")
    arguments.add_argument("--artifacts", metavar="DIR", help="exported and converted models to ship along")
    arguments.add_argument("--summary", help="one line for the card, ASCII, without a colon")
    arguments.add_argument("--author", default=Details.author, help="for the card (default: %(default)s)")
    arguments.add_argument("--repo-link", help="where the network's code is published, for the card")
    arguments.add_argument("--base-url", help="address that the registry will be served from, for the card")
    arguments.add_argument("--date", help="YYYY-MM-DD for the card (default: the checkpoint's)")
    arguments.add_argument("--json", action="store_true", help="print the manifest as JSON")
    options = arguments.parse_args(argv)
    details = Details(
        options.name,
        options.version,
        options.summary,
        options.author,
        options.repo_link,
        options.base_url,
        options.date,
    )
    manifest = pack(options.run, options.out, details, options.eval, options.artifacts)
    if options.json:
        print(json.dumps(manifest.to_dict(), indent=2))
    else:
        print(
            f"{manifest.name}@{manifest.version}: {len(manifest.files)} files, {manifest.size / 1e6:.1f} MB in "
            f"{options.out}" + ("" if manifest.evidence else "; no eval.json, so the card claims no accuracy")
        )
