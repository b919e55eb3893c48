"""What a test starts runs this checkout's code too, not that of an installed copy."""

import os
from pathlib import Path

# pyproject.toml's pythonpath reaches the tests' own process only.
SRC = str(Path(__file__).parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))

from glorext.runtime.mindspore_versions import choose_protobuf  # noqa: E402

choose_protobuf()  # some tests import onnx, and so protobuf, before glorext
