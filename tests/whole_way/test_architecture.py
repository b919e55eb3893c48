"""What the readmes and docs/*.md name is there, and the changes that docs/architecture.md shows can be made."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from .documents import PAGES, READMES, ROOT, blocks, prose, spans, tables
from .test_structure import DEPLOY, ROOMS

PAGE = ROOT / "docs" / "architecture.md"
SCHEMA = re.compile(r"glorext\.[a-z_]+/\d+")
PLACE = re.compile(r"`([\w/]+\.(?:py|cc)):([\w.]+)`")
TREE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(ROOMS)}|tests|benchmarks|docs|src)/[\w./-]*")


def code_of(page):
    return [*spans(page), *(block.text for block in blocks(page) if block.language != "diff")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_is_there(page):
    named = {path.rstrip(".") for text in code_of(page) for path in TREE.findall(text)}
    # ROOM and the like stand for names; train/ and val/ of a command are the reader's.
    wrong = {path for path in named if not re.search(r"[A-Z]{3}", path) and not (ROOT / path).exists()}
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_there(page):
    links = re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page)))
    wrong = {link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).is_file()}
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_and_function_that_a_page_names_is_there(page):
    text = "\n".join(code_of(page))
    named = set(re.findall(r"(?<![\w/.-])glorext(?:\.[A-Za-z_]\w*)+(?![\w/])", text))
    for name in sorted(named - {"glorext.lock"}):  # a file
        parts, found = name.split(".")[1:], importlib.import_module("glorext")
        for number, part in enumerate(parts, 1):
            if not hasattr(found, part):
                importlib.import_module(".".join(["glorext", *parts[:number]]))
            found = getattr(found, part)


def defined_in(path):
    """Functions, classes and methods (Class.method) of a Python file; names before a parenthesis in a C++ one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".cc":
        return set(re.findall(r"^\w[\w:<>&* ]* (\w+)\(", text, re.M))
    names = set()
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def formats():
    """{file: row} of the table of file formats."""
    (table,) = (rows for rows in tables(PAGE) if rows[0] == ["file", "written by", "read by", "schema"])
    return {row[0]: row for row in table[1:]}


def test_who_writes_and_reads_a_file_is_a_function_of_that_file():
    places = [place for row in formats().values() for place in PLACE.findall(" ".join(row))]
    assert len(places) > 40
    wrong = [f"{path}:{name}" for path, name in places if name not in defined_in(ROOT / path)]
    assert not wrong


def test_every_schema_of_the_code_has_a_row_and_stands_in_the_files_of_its_writer_and_reader():
    rows = {row[3].strip("`"): row for row in formats().values() if SCHEMA.fullmatch(row[3].strip("`"))}
    used = {}
    sources = (
        path for room in (*ROOMS, "benchmarks") for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".cc")
    )
    for path in (path for path in sources if "tests" not in path.relative_to(ROOT).parts):
        for schema in SCHEMA.findall(path.read_text(encoding="utf-8")):
            used.setdefault(schema, set()).add(path.relative_to(ROOT).as_posix())
    assert set(rows) == set(used) and len(used) > 10
    for schema, row in rows.items():
        files = {path for path, _ in PLACE.findall(" ".join(row))}
        assert files & used[schema], f"{schema} stands in {used[schema]}, the page says {files}"


def test_the_floors_of_the_page_are_those_that_the_imports_are_held_to():
    rooms, deploy = (block.text for block in blocks(PAGE) if "<-" in block.text)
    assert tuple(re.split(r"\s+<-\s+", rooms)) == ROOMS
    floors = tuple(tuple(row.split(", ")) for row in re.split(r"\s+<-\s+", deploy))
    assert floors == tuple(row for row in DEPLOY if row != ("demo",))
    (table,) = (rows for rows in tables(PAGE) if rows[0] == ["room", "answers"])
    named = {path for row in table[1:] for path in re.findall(r"`([\w/]+)/`", row[0])}
    assert named == {*ROOMS[:-1], "deploy/cpp", *(f"deploy/{name}" for row in floors for name in row)}


def apply(diff, root):
    """Make the change that a block shows in the tree `root`; each hunk must fit at one place."""
    for part in re.split(r"^--- ", diff, flags=re.M)[1:]:
        name, *lines = part.rstrip("\n").split("\n")
        if name == "/dev/null":
            path = root / lines.pop(0).removeprefix("+++ ")
            assert not path.exists() and all(line.startswith("+") for line in lines)
            path.write_text("".join(f"{line[1:]}\n" for line in lines))
            continue
        assert all(line[:1] in ("+", "-", " ", "") for line in lines), lines
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != sign) for sign in "+-")
        text = (root / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has {text.count(old)} places for:\n{old}"
        (root / name).write_text(text.replace(old, new), encoding="utf-8")


# What the page leaves to whoever makes the change, as short as it can be.
LEFT_OUT = {
    "models/wide_family.py": """
from dataclasses import replace
from .family import Naming
from .glore_v2_family import GLORE_V2
WIDE = replace(GLORE_V2, name="wide", namings=(Naming("wide", r"wide\\..+"),), networks=())
""",
    "hub/zip_registry.py": """
class ZipRegistry:
    def __init__(self, path):
        self.location = path
""",
    "hub/compare.py": """
from glorext.runtime.cli import parser
from .open_model import add_model_arguments
def main(argv):
    arguments = parser("compare", "Compare.", "glorext compare a")
    add_model_arguments(arguments)
    print("compares", arguments.parse_args(argv).what)
""",
    "deploy/runners/openvino.py": "def on_pictures(path, artifact):\n    return f'{artifact.format} of {path.name}'\n",
}
AFTER = """
import types
from pathlib import Path
from glorext.deploy.contract import artifact
from glorext.deploy.export.formats import check_request
from glorext.deploy.runners.common import Request
from glorext.deploy.validate import backends
from glorext.hub.registry import open_registry
from glorext.models import spec
from glorext.models.families import FAMILIES
from glorext.models.namings import recognize
from glorext.runtime.chips import find_chip
from glorext.runtime.cli import main
from glorext.train import load_recipe

network = spec("resnext152_32x4d")
print(network.parameters, sum(p.size for p in network.constructor(**network.arguments).trainable_params()))
assert FAMILIES["wide"].class_name == "GloReResNetV2" and recognize(["wide.a"]).name == "wide"
assert recognize(["layer1.0.shortcut.0.weight", "fc.weight"]).name == "shortcut"
assert load_recipe("flowers").epochs == 20
assert check_request(["stablehlo"], None, "CPU") == {"stablehlo": -1} and "stablehlo" in artifact.FORMATS
assert find_chip("Ascend310B5").family == "ascend310b"
assert open_registry("zip:/packed.zip").location == "/packed.zip"
backends.read_artifact = lambda path: types.SimpleNamespace(format="onnx")
backends._require_same = lambda *_: None
assert backends.prepare(None, Request("openvino", model=Path("a.onnx")), Path()) == "onnx of a.onnx"
assert main(["compare", "x"]) == 0
assert "say in what two models differ" in __import__("glorext.runtime.cli").runtime.cli._usage()
"""


def test_the_changes_that_the_page_shows_can_be_made_and_do_what_it_says(tmp_path):
    for name in (*ROOMS, "src"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    changes = [block.text for block in blocks(PAGE) if block.language == "diff"]
    assert len(changes) == 9
    for change in changes:
        apply(change, tmp_path)
    for name, text in LEFT_OUT.items():
        (tmp_path / name).write_text(text)
    for path, module in {
        "hub/registry.py": "from .zip_registry import ZipRegistry\n",
        "deploy/validate/backends.py": "from glorext.deploy.runners import openvino\n",
    }.items():
        head, mark, rest = (tmp_path / path).read_text().partition("from __future__ import annotations\n")
        (tmp_path / path).write_text(f"{head}{mark}{module}{rest}")
    done = subprocess.run(
        [sys.executable, "-c", AFTER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said, counted = done.stdout.split()[:2]
    assert said == counted, "the number of parameters that the page gives is the network's"


def test_both_readmes_say_the_same():
    english, chinese = READMES
    for each in (lambda page: [len(rows) for rows in tables(page)], headings, typed, numbers):
        assert each(english) == each(chinese)


def headings(page):
    """The levels of a page's headings, in order."""
    return [len(line.split()[0]) for line in prose(page) if line.startswith("#")]


def typed(page):
    """All code of a page in order, comments left out."""
    shown = [
        re.sub(r"\s*#.*|->.*|图片|pictures", "", line) for block in blocks(page) for line in block.text.splitlines()
    ]
    cells = [span for rows in tables(page) for row in rows for cell in row for span in re.findall(r"`([^`]+)`", cell)]
    return shown + cells, sorted(set(spans(page)))


def numbers(page):
    """The numbers of each row of a page's tables."""
    return [[re.findall(r"\d[\d.,e-]*\d|\d", cell) for cell in row] for rows in tables(page) for row in rows]
