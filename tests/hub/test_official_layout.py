"""A package, read by the rules of MindSpore Hub's own client.

The official client is not on any index that this test could install it from, so the steps below follow what it does:
two lines of dashes delimit YAML; the checkpoint is the last `ckpt` asset, by the last part of its link, beside the
card; mindspore_hub_conf.py stands in the folder named by the last part of repo-link and is run with that folder in
front of sys.path and as working folder; create_network gets model-name in lower case; MindSpore loads the weights.
"""
import re

import pytest
import yaml
from samples import DETAILS

from glorext.hub.pack import pack

SCRIPT = '''
import importlib.abc, importlib.util, os, re, sys, yaml
class NoGlorext(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("glorext", "mindspore_hub"):
            raise ImportError(f"a package must load without {name}")
sys.meta_path.insert(0, NoGlorext())
folder = os.path.dirname(sys.argv[1])
header, inside = [], False
for line in open(sys.argv[1]):
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
net = module.create_network(header["model-name"].lower(), **eval(sys.argv[2]))
import mindspore as ms
if len(sys.argv) == 3:
    asset = [entry for entry in header["asset"] if entry["file-format"] == "ckpt"][-1]
    values = ms.load_checkpoint(os.path.join(folder, asset["asset-link"].split("/")[-1]))
    missing, unexpected = ms.load_param_into_net(net, values)
    assert not missing and not unexpected, (missing, unexpected)
net.set_train(False)
x = ms.Tensor(__import__("numpy").linspace(-1, 1, 3 * 32 * 32, dtype="float32").reshape(1, 3, 32, 32))
print(net(x).asnumpy().tobytes().hex())
'''


@pytest.fixture
def front(package):
    text = (package / "card.md").read_bytes().decode("ascii")
    lines = text.splitlines()
    marks = [number for number, line in enumerate(lines) if line.startswith("---")]
    assert len(marks) == 2
    return yaml.load("\n".join(lines[marks[0] + 1:marks[1]]), Loader=yaml.FullLoader)


def test_front_matter_passes_the_official_rules(front):
    required = ["model-name", "backbone-name", "module-type", "fine-tunable", "model-version", "author", "update-time",
                "repo-link", "user-id", "used-for", "mindspore-version", "license", "summary"]
    assert all(front.get(key) not in (None, "") for key in required)
    assert front["fine-tunable"] is True and front["module-type"] == "cv"
    assert set(front["used-for"].split("/")) <= {"inference", "extract-feature", "transfer-learning"}
    assert not [key for key, value in front.items()
                if ":" in str(value) and key not in ("repo-link", "asset", "evaluation")]
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


def test_network_and_weights_load_without_glorext_and_compute_the_same(package, python):
    code, foreign, err = python(SCRIPT, package / "card.md", "{}")
    assert code == 0, err
    code, ours, err = python('''
import sys, numpy, mindspore as ms, mindspore_hub
net = mindspore_hub.load(sys.argv[1], source="local")
x = ms.Tensor(numpy.linspace(-1, 1, 3 * 32 * 32, dtype="float32").reshape(1, 3, 32, 32))
print(net(x).asnumpy().tobytes().hex())''', package / "card.md")
    assert code == 0, err
    assert foreign == ours and len(ours.strip()) == 80


def test_create_network_takes_other_arguments_and_only_its_own_name(package, python):
    code, out, err = python(SCRIPT, package / "card.md", "{'num_classes': 7}", "random weights")
    assert code == 0, err
    assert len(out.strip()) == 7 * 8
    conf = next(package.glob("*/mindspore_hub_conf.py")).read_text()
    assert 'NAME = "tiny-digits"' in conf and "if name != NAME" in conf


def test_packages_of_glore_load_without_glorext_too(run, tmp_path, python):
    import json
    import shutil
    from glorext import models
    arguments = {"layers": [1, 1, 2, 1], "units": [[], [], [1], []]}
    spec = models.spec("glore_res50")
    net = models.create("glore_res50", num_classes=10, **arguments)
    folder = shutil.copytree(run, tmp_path / "glore")
    models.save_checkpoint(net, folder / "best.ckpt")
    (folder / "eval.json").unlink()
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe |= {"network": "glore_res50", "network_args": arguments}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    pack(folder, tmp_path / "out", DETAILS)
    assert json.loads((tmp_path / "out/manifest.json").read_text())["network"] == spec.name
    code, _, err = python(SCRIPT, tmp_path / "out/card.md", "{}")
    assert code == 0, err
