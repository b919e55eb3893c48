"""A copy of this checkout, for tests that build in it or break it."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("runtime", "models", "hub", "train", "deploy")


def files():
    """What git tracks or would track, by paths relative to the checkout, sorted; a link to a folder is one file."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        # An unpacked archive: nothing is left in it by builds, as far as these tests go.
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_symlink() or path.is_file()]
        names = [name for name in names if "__pycache__" not in name and not name.startswith(".venv")]
    return sorted(name for name in names if name and os.path.lexists(ROOT / name))


def copy_to(folder):
    """Copy the checkout, links as links; `folder`."""
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder
