"""`glorext to-png FOLDER OUT`: a copy of a tree of pictures in which all are JPEG or PNG."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image, ImageSequence

from glorext.models.picture_file import OTHER_ENDINGS
from glorext.runtime.cli import parser as make_parser
from glorext.runtime.cli import run
from glorext.runtime.errors import DataError, UsageError
from glorext.runtime.files import atomic_dir

from .pictures import files_below, is_picture


def to_png(folder, out) -> int:
    """Copy FOLDER/<class>/<file> to `out`, which appears whole or not at all; how many pictures became PNG.

    A picture of several frames, such as a GIF, becomes its first one. What is no picture by its name is left out.

    Raises:
        DataError: no such folder, or a picture that cannot be decoded; names its path.
        UsageError: `out` lies in `folder`.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise DataError(expected="a folder of pictures", found="no such folder", where=folder, do="Check the path.")
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(expected="another folder than that of the pictures", found=out)
    converted = 0
    with atomic_dir(out) as made:
        for path in files_below(folder):
            target = made / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_picture(path.name):
                shutil.copyfile(path, target)
            elif path.name.lower().endswith(OTHER_ENDINGS):
                _convert(path, target.with_name(f"{target.name}.png"))  # a.gif and a.png may stand side by side
                converted += 1
    return converted


def _convert(path: Path, target: Path) -> None:
    try:
        with Image.open(path) as picture:
            frame = next(ImageSequence.Iterator(picture))
            # Transparent pixels keep their color, as decoders that know no transparency show them.
            frame.convert("RGB").save(target)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            expected="a whole picture", found=" ".join(str(error).split()), where=path, do="Replace or remove it."
        ) from error


def main(argv: list[str]) -> int:
    """`glorext to-png`."""
    parser = make_parser(
        "to-png",
        "Copy a folder of pictures, with WebP, BMP, GIF and TIFF turned into PNG; JPEG and PNG stay as they are.",
        "glorext to-png pictures/ pictures_png/",
    )
    parser.add_argument("folder", help="FOLDER/<class>/<file>")
    parser.add_argument("out", help="folder to make")
    arguments = parser.parse_args(argv)
    print(f"{arguments.out}: {to_png(arguments.folder, arguments.out)} pictures became PNG")
    return 0


if __name__ == "__main__":
    sys.exit(run("glorext to-png", lambda: main(sys.argv[1:])))
