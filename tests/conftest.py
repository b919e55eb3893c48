"""What a test starts runs this checkout's code too, not that of an installed copy."""

import os
import signal
from pathlib import Path

# pyproject.toml's pythonpath reaches the tests' own process only.
SRC = str(Path(__file__).parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))
# What `make test MINDSPORE=2.7.1` says to its own recipes is not meant for the make that a test starts.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(name, None)
# A shell's background job ignores Ctrl-C, and so would all that a test starts, also what it is sent.
signal.signal(signal.SIGINT, signal.default_int_handler)

from glorext.runtime.mindspore_versions import choose_protobuf  # noqa: E402

choose_protobuf()  # some tests import onnx, and so protobuf, before glorext
