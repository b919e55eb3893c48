"""What to type where a compiler or a header is missing: Debian's packages, or those of hosts with dnf."""

from __future__ import annotations

import shutil

BUILDING = ("g++", "cmake", "make", "libjpeg-dev", "libpng-dev")
# Hosts of Ascend cards mostly run openEuler or Kylin. Their names, where they differ from Debian's.
OF_DNF = {
    "g++": "gcc-c++",
    "libjpeg-dev": "libjpeg-turbo-devel",
    "libpng-dev": "libpng-devel",
    "doctest-dev": "doctest-devel",
}


def install(*packages: str) -> str:
    """The command that installs these packages, named as in Debian, on this machine."""
    if shutil.which("dnf") and not shutil.which("apt-get"):
        return " ".join(["dnf install", *(OF_DNF.get(name, name) for name in packages)])
    return " ".join(["apt-get install", *packages])
