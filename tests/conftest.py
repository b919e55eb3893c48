"""What a test starts runs this checkout's code too, not that of an installed copy."""

import os
from pathlib import Path

# pyproject.toml's pythonpath reaches the tests' own process only.
SRC = str(Path(__file__).parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))
