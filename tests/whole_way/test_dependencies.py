"""What setup.py declares is what is imported, and requirements.txt pins that and nothing else."""

import ast
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ROOMS = ("runtime", "models", "hub", "train", "deploy")
# Distributions that are not called as what one imports.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "google": "protobuf",
    "mlflow": "mlflow-skinny",
}
OURS = {"glorext", "mindspore_hub"}
# Extras for what a user may already have; `make` does not install them.
NOT_PINNED = {"mlflow-skinny", "openvino", "tensorboard", "torch", "wandb"}
# What builds and checks this project: run, not imported.
TOOLS = {"setuptools", "wheel", "ruff", "mypy"}
PLUGINS = {"pytest-xdist"}  # pytest finds it by itself


def canonical(name):
    return str(canonicalize_name(name))


def imported(folders):
    """{distribution: a place that imports it} of all files in the folders, imports inside functions included."""
    found = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in OURS:
                    distribution = canonical(DISTRIBUTIONS.get(name, name))
                    found.setdefault(distribution, f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def declared():
    """({name: Requirement} of install_requires, {extra: {name: Requirement}}) as setup.py has them."""
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"
    )
    words = {word.arg: word.value for word in call.keywords}

    def table(texts):
        return {canonical(requirement.name): requirement for requirement in map(Requirement, texts)}

    extras = ast.literal_eval(words["extras_require"])
    return table(ast.literal_eval(words["install_requires"])), {name: table(texts) for name, texts in extras.items()}


def pins():
    """{name: Requirement} of requirements.txt, those for this Python."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    assert all(str(pin.specifier).startswith("==") for pin in found)
    return {canonical(pin.name): pin for pin in found if pin.marker is None or pin.marker.evaluate()}


def test_the_rooms_import_what_is_declared_and_all_of_it():
    install, extras = declared()
    optional = {name for extra, table in extras.items() if extra != "test" for name in table}
    assert not install.keys() & optional
    found = imported(ROOMS)
    undeclared = {name: place for name, place in found.items() if name not in install.keys() | optional}
    assert not undeclared
    assert (install.keys() | optional) - found.keys() == set()


def test_the_tests_import_what_is_declared_and_all_of_it():
    install, extras = declared()
    found = imported(["tests"])
    # The tools of the tests, and what an option of a command needs: a test that uses it is skipped without it.
    allowed = install.keys() | extras["test"].keys() | NOT_PINNED
    undeclared = {name: place for name, place in found.items() if name not in allowed}
    assert not undeclared
    assert extras["test"].keys() - found.keys() - imported(ROOMS).keys() == PLUGINS


def test_every_declared_package_is_pinned_to_a_version_that_is_allowed():
    install, extras = declared()
    pinned = pins()
    for name, wanted in [*install.items(), *(item for table in extras.values() for item in table.items())]:
        if name not in NOT_PINNED:
            assert wanted.specifier.contains(str(pinned[name].specifier).removeprefix("==")), (wanted, pinned[name])
    assert not pinned.keys() & NOT_PINNED


def test_every_pin_is_declared_or_needed_by_something_that_is():
    install, extras = declared()
    pinned = pins()
    needed, queue = set(), [*install, *TOOLS, *(name for name in pinned if name.startswith("types-"))]
    queue += [name for table in extras.values() for name in table if name not in NOT_PINNED]
    for name in queue:
        if name in needed:
            continue
        needed.add(name)
        try:
            lines = requires(name) or []
        except ModuleNotFoundError:
            pytest.skip(f"{name} is not installed here, so what it needs is not known")
        found = [Requirement(line) for line in lines]
        queue += [
            canonical(other.name) for other in found if other.marker is None or other.marker.evaluate({"extra": ""})
        ]
    assert pinned.keys() - needed == set(), "pinned and not needed"
    assert needed - pinned.keys() == set(), "needed and not pinned"
