"""One contract, two readers: Python and the C++ program take and refuse the same files, and name the same key."""

import re
import subprocess

import pytest

from glorext.deploy.contract.artifact import parse_contract
from glorext.runtime import DataError

from .contract_table import BROKEN, JSON, LIMIT, OBJECT, WHOLE

TABLE = {**BROKEN, **{title: (data, None) for title, data in WHOLE.items()}}


def names(message: str, key: str) -> bool:
    """Whether a complaint names the key: by its whole path, or by the path of its object and its own name."""
    if key in (JSON, OBJECT, LIMIT):
        return key in message.replace(",", "")
    outer, _, last = key.rpartition(".")
    if f": {key}" in message:
        return True
    own = re.search(rf"\b{last}\b" if outer else rf"""['"]{last}['"]""", message)
    return own is not None and (not outer or f": {outer}" in message)


@pytest.fixture(scope="module")
def by_program(core, tmp_path_factory):
    """title -> what the C++ reader says of a contract, "ok" or why not; one process reads them all."""
    folder = tmp_path_factory.mktemp("contracts")
    files = {title: folder / f"{number}.json" for number, title in enumerate(TABLE)}
    for title, file in files.items():
        file.write_bytes(TABLE[title][0])
    program = [str(core / "tests" / "glorext_core_fuzz"), *(file.name for file in files.values())]
    done = subprocess.run(program, capture_output=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    lines = done.stdout.splitlines()
    return {title: line.decode().split("\t")[5] for title, line in zip(files, lines, strict=True)}


def by_python(data: bytes) -> str:
    """What Python's reader says of a contract, "ok" or why not."""
    try:
        parse_contract(data, "c.json")
    except DataError as error:
        return str(error)
    return "ok"


def test_the_table_holds_every_kind_of_fault():
    assert len(BROKEN) >= 200 and len(WHOLE) >= 20 and len(TABLE) == len(BROKEN) + len(WHOLE)


@pytest.mark.parametrize("title", TABLE)
def test_both_readers_give_the_same_verdict_and_name_the_same_key(title, request):
    data, key = TABLE[title]
    message = by_python(data)
    assert (message == "ok") == (key is None) and (key is None or names(message, key)), message
    message = request.getfixturevalue("by_program")[title]  # skips where there is no compiler
    assert (message == "ok") == (key is None) and (key is None or names(message, key)), message
