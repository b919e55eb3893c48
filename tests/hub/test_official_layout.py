"""A package, read by the rules of MindSpore Hub's own client.

The official client is not on any index that this test could install it from, so the steps below follow what it does:
two lines of dashes delimit YAML; the checkpoint is the last `ckpt` asset, by the last part of its link, beside the
card; mindspore_hub_conf.py stands in the folder named by the last part of repo-link and is run with that folder in
front of sys.path and as working folder; create_network gets model-name in lower case; MindSpore loads the weights.
"""

import dataclasses
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from glorext import models
from glorext.hub.card import read_card
from glorext.hub.pack import pack
from glorext.models.trained import write_run

from . import samples
from .samples import ARGUMENTS, DETAILS, SPEC

SCRIPT = """
import importlib.abc, importlib.util, os, sys, yaml
class NoGlorext(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("glorext", "mindspore_hub"):
            raise ImportError(f"a package must load without {name}")
sys.meta_path.insert(0, NoGlorext())
arguments = eval(sys.argv[1])
for card in map(os.path.abspath, sys.argv[2:]):
    folder = os.path.dirname(card)
    header, inside = [], False
    for line in open(card, encoding="ascii"):
        if line.startswith("---"):
            inside = not inside
        elif inside:
            header.append(line)
    header = yaml.load("".join(header), Loader=yaml.FullLoader)
    place = os.path.join(folder, os.path.basename(header["repo-link"]))
    sys.path.insert(0, place)
    spec = importlib.util.spec_from_file_location("mindspore_hub_conf.py", os.path.join(place, "mindspore_hub_conf.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    os.chdir(place)
    net = module.create_network(header["model-name"].lower(), **arguments)
    import mindspore as ms, numpy
    if not arguments:
        asset = [entry for entry in header["asset"] if entry["file-format"] == "ckpt"][-1]
        values = ms.load_checkpoint(os.path.join(folder, asset["asset-link"].split("/")[-1]))
        missing, unexpected = ms.load_param_into_net(net, values)
        assert not missing and not unexpected, (missing, unexpected)
    net.set_train(False)
    x = ms.Tensor(numpy.linspace(-1, 1, 3 * 32 * 32, dtype="float32").reshape(1, 3, 32, 32))
    print(net(x).asnumpy().tobytes().hex())
"""


def official_front(text):
    lines = text.splitlines()
    marks = [number for number, line in enumerate(lines) if line.startswith("---")]
    assert len(marks) == 2
    return yaml.load("\n".join(lines[marks[0] + 1 : marks[1]]), Loader=yaml.FullLoader)


@pytest.fixture
def front(package):
    return official_front((package / "card.md").read_bytes().decode("ascii"))


def test_front_matter_passes_the_official_rules(front):
    required = [
        "model-name",
        "backbone-name",
        "module-type",
        "fine-tunable",
        "model-version",
        "author",
        "update-time",
        "repo-link",
        "user-id",
        "used-for",
        "mindspore-version",
        "license",
        "summary",
    ]
    assert all(front.get(key) not in (None, "") for key in required)
    assert front["fine-tunable"] is True and front["module-type"] == "cv"
    assert set(front["used-for"].split("/")) <= {"inference", "extract-feature", "transfer-learning"}
    assert not [
        key for key, value in front.items() if ":" in str(value) and key not in ("repo-link", "asset", "evaluation")
    ]
    assert re.match(r"https?://(.*).com", front["repo-link"]) and not front["repo-link"].endswith("/")
    assert isinstance(front["accuracy"], float)
    assert front["model-version"] == "1.0.0" and front["mindspore-version"] == "2.10.0"
    assert "train-dataset" not in front, "digits is not in the official list of data sets"


def test_files_stand_where_the_official_client_looks(package, front):
    assert (package / "card.md").is_file() and not (package / "card.md").stem.endswith("cn")
    assert (package / front["asset"][-1]["asset-link"].split("/")[-1]).is_file()
    folder = package / front["repo-link"].split("/")[-1]
    assert (folder / "mindspore_hub_conf.py").is_file()
    assert not (folder / "src").exists(), "sys.path keeps the folder: two packages with src would be one"
    for source in folder.glob("*/*.py"):
        assert not re.search(r"^\s*(from|import) glorext", source.read_text(), re.M), source


def test_no_heading_ends_with_a_colon(package):
    headings = [line for line in (package / "card.md").read_text().splitlines() if line.startswith("#")]
    assert len(headings) > 3 and not [line for line in headings if line.endswith(":")]


OURS = """
import sys, numpy, mindspore as ms, mindspore_hub
for card in sys.argv[1:]:
    net = mindspore_hub.load(card, source="local")
    x = ms.Tensor(numpy.linspace(-1, 1, 3 * 32 * 32, dtype="float32").reshape(1, 3, 32, 32))
    print(net(x).asnumpy().tobytes().hex())
"""
BLOCKS = {
    "resnext50": ARGUMENTS,
    "glore_res50": {"layers": [1, 1, 2, 1], "units": [[], [], [1], []], "stem_width": 8},
    "glore_res101": {"layers": [1, 1, 2, 1], "units": [[], [], [1], []], "stem_width": 8},
}


@pytest.fixture(scope="module")
def packages(run, tmp_path_factory):
    """A package of each family of networks, every weight random: an untrained GloRe unit would change nothing."""
    folder, found = tmp_path_factory.mktemp("families"), {}
    for network, arguments in BLOCKS.items():
        source = shutil.copytree(run, folder / f"run_{network}")
        (source / "eval.json").unlink()
        dice = np.random.default_rng(3)
        weights = models.read_checkpoint(models.create(network, num_classes=10, **arguments)).weights
        models.save_checkpoint(
            {
                name: dice.uniform(0.1, 0.6, array.shape).astype(np.float32)
                if array.ndim < 2
                else dice.normal(0, 0.3, array.shape).astype(np.float32)
                for name, array in weights.items()
            },
            source / "best.ckpt",
        )
        spec = dataclasses.replace(models.spec(network).input, **SPEC)
        write_run(source, samples.identity(source, network=network, network_args=arguments, input_spec=spec), None)
        pack(source, folder / network, replace(DETAILS, name=f"tiny-{network.replace('_', '.')}"))
        found[network] = folder / network / "card.md"
    return found


def test_networks_and_weights_load_without_glorext_and_compute_the_same(packages, python):
    """All in one process: the official client leaves each package's folder in sys.path."""
    code, foreign, err = python(SCRIPT, "{}", *packages.values())
    assert code == 0, err
    code, ours, err = python(OURS, *packages.values())
    assert code == 0, err
    assert foreign == ours
    logits = [np.frombuffer(bytes.fromhex(line), np.float32) for line in ours.split()]
    assert len(logits) == 3 and all(len(row) == 10 and np.isfinite(row).all() and np.ptp(row) > 0.01 for row in logits)


def test_create_network_takes_other_arguments_and_only_its_own_name(package, python):
    code, out, err = python(SCRIPT, "{'num_classes': 7}", package / "card.md")
    assert code == 0, err
    assert len(out.strip()) == 7 * 8
    conf = next(package.glob("*/mindspore_hub_conf.py")).read_text()
    assert 'NAME = "tiny-digits"' in conf and "if name != NAME" in conf


@pytest.mark.parametrize(
    "summary",
    [
        "it's \"quoted\" 'twice'",
        "- a list?",
        "yes",
        "2.10",
        "null",
        "{a, b} & *c !d %e @f `g`",
        "rules --- inside",
        "a | b",
        "2026-01-02",
        "ends with a backslash \\",
        "1e3",
        "x" * 500,
        "=",
        "<script>alert(1)</script>",
        "{{ summary }}",
    ],
)
def test_odd_summaries_and_authors_come_back_as_they_were(run, tmp_path, summary):
    author = summary[:30].strip()
    pack(run, tmp_path / "out", replace(DETAILS, summary=summary, author=author, name="null", date=None))
    text = (tmp_path / "out/card.md").read_bytes().decode("ascii")
    front = official_front(text)
    assert (front["summary"], front["author"], front["user-id"]) == (summary, author, author)
    assert front["model-name"] == "null" and front["model-version"] == "1.0.0"
    assert all(isinstance(front[key], str) for key in ("mindspore-version", "update-time", "license"))
    assert f"\n{summary}\n" in text
    assert read_card(tmp_path / "out/card.md")[0] == front


def test_names_that_differ_in_their_marks_have_modules_of_their_own(run, tmp_path):
    modules = set()
    for name in ("a-b", "a.b", "a_b"):
        source = shutil.copytree(run, tmp_path / f"run{len(modules)}")
        (source / "eval.json").unlink()
        models.save_checkpoint(models.create("resnext50", num_classes=10, **ARGUMENTS), source / "best.ckpt")
        write_run(source, samples.identity(source), None)
        pack(source, tmp_path / name, replace(DETAILS, name=name))
        modules |= {path.parent.name for path in (tmp_path / name).rglob("resnext.py")}
    assert len(modules) == 3 and all(module.isidentifier() for module in modules)
