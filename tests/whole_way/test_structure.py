"""The floors of the house: what may import what, and how long a file and a function may be.

Every import is read from the source, those inside functions and for type checkers included.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each room imports from those before it and from itself.
ROOMS = ("runtime", "models", "hub", "train", "deploy")
# Inside deploy the same; the sub-rooms of one row do not know each other. demo.py walks the whole way.
DEPLOY = (
    ("contract",),
    ("runners",),
    ("export",),
    ("convert",),
    ("parity", "ship", "doctor"),
    ("validate",),
    ("acceptance", "bench"),
    ("demo",),
)
LONGEST_FILE, LONGEST_NETWORK, LONGEST_FUNCTION = 348, 200, 60


def _modules(root):
    """Every file of the rooms by its dotted name: {"hub.client": path, "hub": hub/__init__.py, ...}."""
    found = {}
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module, path, modules):
    """[(line, imported module)] of a file, those of the rooms only, by their names in `modules`."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted = [alias.name.removeprefix("glorext.") for alias in node.names if alias.name.startswith("glorext.")]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                # The rooms' parent is glorext itself: a relative import from there names a room.
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            elif (node.module or "").split(".")[0] == "glorext":
                base = node.module.removeprefix("glorext").removeprefix(".")
            else:
                continue
            # `from hub import client` takes the module client; `from hub import load` takes hub/__init__.py.
            inner = [f"{base}.{alias.name}".removeprefix(".") for alias in node.names]
            wanted = [name if name in modules else base for name in inner]
        else:
            continue
        # What is left of `from glorext import __version__`, base "", belongs to no room.
        found += [(node.lineno, name) for name in wanted if name]
    return list(dict.fromkeys(found))


def named_in_texts(path, modules):
    """[(line, module)] of the texts in a file that are a module's full name, as `import_module` and `-m` take it."""
    return [
        (node.lineno, node.value.removeprefix("glorext."))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("glorext.")
        and node.value.removeprefix("glorext.") in modules
    ]


class House:
    """The imports of a tree of rooms, and what is wrong with them."""

    def __init__(self, root):
        self.root, self.modules = root, _modules(root)
        self.imports = {module: imports_of(module, path, self.modules) for module, path in self.modules.items()}
        self.texts = {module: named_in_texts(path, self.modules) for module, path in self.modules.items()}

    def _place(self, module, line):
        return f"{self.modules[module].relative_to(self.root)}:{line}"

    def nowhere(self):
        """Imports of a module that is not there."""
        return [
            f"{self._place(module, line)} imports {name}, which is no file"
            for module, found in self.imports.items()
            for line, name in found
            if name not in self.modules
        ]

    def upward(self, floor_of):
        """Imports of a higher floor, or of a neighbor on the same one; `floor_of` gives (height, name) or None."""
        wrong = []
        for module in self.modules:
            here = floor_of(module)
            # The one place that names modules of all rooms is the table of the command line.
            texts = [] if module == "runtime.cli" else self.texts[module]
            for line, name in self.imports[module] + texts:
                target = floor_of(name)
                if here and target and target != here and target[0] >= here[0]:
                    wrong.append(f"{self._place(module, line)}: {here[1]} imports {name}")
        return wrong

    def through_the_front(self):
        """Imports by a file from the `__init__.py` of its own folder, which may itself import the file, late or not."""
        return [
            f"{self._place(module, line)} imports from {name}/__init__.py: name the file that has it"
            for module, found in self.imports.items()
            for line, name in found
            # hub/mindspore_hub.py is the module `mindspore_hub`: it stands outside and shows hub's front.
            if module != "hub.mindspore_hub"
            and module.startswith(f"{name}.")
            and self.modules.get(name, self.root).name == "__init__.py"
        ]

    def cycles(self):
        """Files that import each other in a circle, each circle once, shortest first."""
        found = {}
        for start in self.modules:
            before, queue = {start: None}, [start]
            for module in queue:
                for _, name in self.imports[module]:
                    if name == start:
                        way = [module]
                        while before[way[-1]] is not None:
                            way.append(before[way[-1]])
                        found.setdefault(frozenset(way), " -> ".join([*reversed(way), start]))
                    elif name in self.modules and name not in before:
                        before[name] = module
                        queue.append(name)
        return [found[members] for members in sorted(found, key=len)]


def room_of(module):
    """The floor of a room."""
    room = module.split(".")[0]
    return (ROOMS.index(room), room) if room in ROOMS else None


def deploy_floor(module):
    """The floor of a sub-room of deploy; None outside of it and for deploy/__init__.py."""
    parts = module.split(".")
    if parts[0] != "deploy" or len(parts) == 1:
        return None
    height = next((i for i, row in enumerate(DEPLOY) if parts[1] in row), None)
    # A file that belongs to no sub-room stands above all: whoever imports it is told.
    return (len(DEPLOY) if height is None else height, ".".join(parts[:2]))


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


def listed(wrong):
    return "\n".join(["", *wrong])


def test_every_import_leads_to_a_file(house):
    assert not house.nowhere(), listed(house.nowhere())


def test_no_room_imports_a_higher_one(house):
    assert not house.upward(room_of), listed(house.upward(room_of))


def test_no_sub_room_of_deploy_imports_a_higher_one_or_a_neighbor(house):
    assert not house.upward(deploy_floor), listed(house.upward(deploy_floor))


def test_every_file_of_deploy_is_in_a_sub_room(house):
    known = {name for row in DEPLOY for name in row}
    outside = [module for module in house.modules if module.startswith("deploy.") and module.split(".")[1] not in known]
    assert not outside, listed(outside)


def test_no_files_import_each_other_in_a_circle(house):
    assert not house.cycles(), listed(house.cycles())


def test_inside_a_folder_files_name_the_file_they_take_from(house):
    assert not house.through_the_front(), listed(house.through_the_front())


def _length(node):
    return node.end_lineno - node.lineno + 1


def test_no_file_and_no_function_is_too_long(house):
    wrong, networks = [], []
    for path in house.modules.values():
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        lines = text.count("\n")
        if lines > LONGEST_FILE:
            wrong.append(f"{name}: {lines} lines, at most {LONGEST_FILE}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _length(node) > LONGEST_FUNCTION:
                wrong.append(f"{name}:{node.lineno}: {node.name} has {_length(node)} lines, at most {LONGEST_FUNCTION}")
            if (
                name.parts[0] == "models"
                and isinstance(node, ast.ClassDef)
                and "nn.Cell" in map(ast.unparse, node.bases)
            ):
                networks.append(str(name))
                if lines > LONGEST_NETWORK:
                    wrong.append(f"{name}: {lines} lines, a network has at most {LONGEST_NETWORK}")
    assert "models/resnext.py" in networks and "models/glore.py" in networks
    assert not wrong, listed(dict.fromkeys(wrong))


@pytest.fixture
def small(tmp_path):
    """Call it with {file: text}: a house of these files."""

    def build(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return House(tmp_path)

    return build


def test_an_import_upward_is_found_wherever_it_hides(small):
    house = small(
        {
            "runtime/__init__.py": "from glorext import __version__\nfrom . import env\n",
            "runtime/env.py": "",
            "hub/__init__.py": "",
            "hub/a.py": "def late():\n    from glorext import train\n    import glorext.deploy.x.y\n",
            "hub/b.py": "if False:\n    from ..deploy.x import y\n",
            "hub/c.py": "import_module('glorext.deploy.x.y')\n",
            "train/__init__.py": "from glorext.hub import a\n",
            "deploy/x/__init__.py": "",
            "deploy/x/y.py": "",
        }
    )
    assert house.upward(room_of) == [
        "hub/a.py:2: hub imports train",
        "hub/a.py:3: hub imports deploy.x.y",
        "hub/b.py:2: hub imports deploy.x.y",
        "hub/c.py:1: hub imports deploy.x.y",
    ]
    assert house.nowhere() == []


def test_neighbors_in_deploy_and_files_outside_its_sub_rooms_are_found(small):
    house = small(
        {
            "deploy/__init__.py": "",
            "deploy/other.py": "from .contract import a\n",
            "deploy/contract/__init__.py": "",
            "deploy/contract/a.py": "from glorext.deploy import other\n",
            "deploy/parity/a.py": "from ..contract import a\n",
            "deploy/ship/a.py": "from ..parity.a import b\n",
        }
    )
    assert house.upward(deploy_floor) == [
        "deploy/contract/a.py:1: deploy.contract imports deploy.other",
        "deploy/ship/a.py:1: deploy.ship imports deploy.parity.a",
    ]


def test_circles_are_found_once_and_so_is_the_way_through_the_front(small):
    house = small(
        {
            "hub/__init__.py": "from .a import x\n",
            "hub/a.py": "def f():\n    from . import b\n",
            "hub/b.py": "from .c import x\n",
            "hub/c.py": "from .a import x\nfrom . import name\n",
            "hub/d.py": "from .gone import x\n",
        }
    )
    assert [frozenset(way.split(" -> ")) for way in house.cycles()] == [
        {"hub.a", "hub.b", "hub.c"},
        {"hub", "hub.a", "hub.b", "hub.c"},
    ]
    assert house.through_the_front() == ["hub/c.py:2 imports from hub/__init__.py: name the file that has it"]
    assert house.nowhere() == ["hub/d.py:1 imports hub.gone, which is no file"]
