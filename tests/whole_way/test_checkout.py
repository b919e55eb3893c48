"""A test in a checkout tests the code of this checkout, whichever copy of glorext is installed."""

import os
import subprocess
import sys

import pytest

from .checkout import copy_to


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_to(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def broken(checkout):
    """Call it with a file and a line that is appended to it until the test ends."""
    before = {}

    def append(name, line):
        before[name] = (checkout / name).read_text()
        (checkout / name).write_text(f"{before[name]}\n{line}\n")

    yield append
    for name, text in before.items():
        (checkout / name).write_text(text)


def pytest_in(checkout, *words):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_test_sees_what_is_broken_in_its_checkout(checkout, broken):
    assert pytest_in(checkout, "tests/runtime/test_errors.py").returncode == 0
    broken("runtime/errors.py", "GlorextError.exit_status = 99")
    done = pytest_in(checkout, "tests/runtime/test_errors.py")
    assert done.returncode == 1 and "99" in done.stdout


def test_so_does_a_test_that_starts_a_process(checkout, broken):
    name = "tests/runtime/test_cli.py::test_wrong_usage_gives_status_2"
    assert pytest_in(checkout, name).returncode == 0
    broken("runtime/__init__.py", "import sys\nif 'pytest' not in sys.modules:\n    sys.exit(99)")
    done = pytest_in(checkout, name)
    assert done.returncode == 1 and "99" in done.stdout
