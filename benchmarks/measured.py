"""What the benchmarks share: options, pictures, a small network, and the JSON object in which each hands its results.

With `--json FILE` a benchmark writes, besides the text that it prints: its name and claim, rows of what was compared,
and the versions of all that took part; or why it was skipped.
"""

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import version, write_json

# For --smoke: the layers of ResNeXt50 with few channels, so that a step costs milliseconds.
SMALL = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8}
OWN = ("mindspore", "numpy", "pillow", "onnxruntime")
PEERS = ("torch", "torchvision", "timm", "huggingface_hub")
VERSIONS = """
import importlib.metadata, json, sys
have = {each.metadata["Name"].lower().replace("-", "_"): each.version for each in importlib.metadata.distributions()}
print(json.dumps({name: have[name] for name in sys.argv[1:] if name in have}))
"""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what was measured; the readmes' table finds a row by it.
        unit: of both values.
        glorext: what was measured of glorext.
        peer: what it is compared with, with its version; None where nothing took part.
        value: what was measured of that.
        better: "more" or "less" of the unit.
    """

    what: str
    unit: str
    glorext: float
    peer: str | None = None
    value: float | None = None
    better: str = "less"

    @property
    def ratio(self) -> float | None:
        """How many times as good as the peer; above 1 glorext is ahead."""
        if not self.value or not self.glorext:
            return None
        return self.glorext / self.value if self.better == "more" else self.value / self.glorext

    def to_dict(self) -> dict:
        """The row as JSON values."""
        return {
            "what": self.what,
            "unit": self.unit,
            "better": self.better,
            "glorext": self.glorext,
            "peer": self.peer,
            "peer_value": self.value,
            "ratio": self.ratio,
        }


def options(doc: str, peer=False, pictures=False) -> argparse.ArgumentParser:
    """The parser of a benchmark with what all take; `peer` and `pictures` add where those are."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes: whether it runs; it measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go as JSON")
    if peer:
        parser.add_argument("--peer_python", default=sys.executable, help="a Python that has what it is compared with")
    if pictures:
        parser.add_argument(
            "--data", "--data_dir", type=Path, help="photographs, FOLDER/<class>/<file>; by default made ones"
        )
    return parser


def hand_over(arguments, doc: str, rows=(), skipped: str | None = None, **versions: str) -> None:
    """Write what was measured to `--json`; `versions` are those of what is no Python package."""
    if skipped:
        print(f"skipped: {skipped}")
    if arguments.json:
        values = {
            "claim": doc.splitlines()[0].removeprefix("Claim: "),
            "rows": [row.to_dict() for row in rows],
            "skipped": skipped,
            "versions": {
                "glorext": " ".join(filter(None, [version(), commit()])),
                "python": platform.python_version(),
                **versions_of(sys.executable, OWN),
                **versions_of(getattr(arguments, "peer_python", None), PEERS),
                **versions,
            },
        }
        write_json(arguments.json, values)


def versions_of(python: str | None, names) -> dict[str, str]:
    """The versions of those packages that a Python has."""
    if not python:
        return {}
    done = subprocess.run([python, "-c", VERSIONS, *names], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def commit() -> str | None:
    """The commit of this checkout, "-dirty" where files differ from it; None outside of one."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peer_of(arguments, name: str) -> str | None:
    """Name and version of a package that `--peer_python` has; None where it has not."""
    found = versions_of(arguments.peer_python, [name]).get(name)
    return f"{name} {found}" if found else None


def network_args(arguments) -> dict:
    """Arguments of the network's constructor: none, or with --smoke those of a small one."""
    return dict(SMALL) if arguments.smoke else {}


def pictures_in(arguments, scratch: Path, count: int = 60) -> Path:
    """The folder of `--data`, or one of made pictures of photographs' size: `count` of them, with --smoke eight."""
    if arguments.data:
        if not arguments.data.is_dir():
            raise SystemExit(f"{arguments.data}: expected a folder of pictures, FOLDER/<class>/<file>")
        return arguments.data
    return made_pictures(scratch / "made", 8 if arguments.smoke else count)


def made_pictures(folder: Path, count: int, size=(500, 375), ending=".jpg", classes: int = 2) -> Path:
    """`count` pictures below `folder`, which are as large as photographs are and cost about as much to decode.

    Each is a smooth field of colors with shapes and some noise: the JPEG files have about 100 KB, as ImageNet's do.
    """
    import numpy as np
    from PIL import Image

    generator, (width, height) = np.random.default_rng(0), size
    for number in range(count):
        of_class = folder / f"class{number % classes}"
        of_class.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(64, 192, (max(1, height // 25), max(1, width // 25), 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + generator.normal(0, 16, smooth.shape)  # no area is of one color
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        picture.save(of_class / f"{number:04}{ending}", quality=90)
    return folder
