"""Writes a tree of pictures as MindRecord files, for file systems that are slow with many small files."""

from __future__ import annotations

import sys

from tqdm import tqdm

from glorext.models.labels import LABELS, read_labels, write_labels
from glorext.runtime.cli import parser as make_parser
from glorext.runtime.cli import run
from glorext.runtime.files import atomic_dir, require_space

from .damage import without_damage
from .data import list_pictures
from .records import FILE

SHARD_BYTES, CHUNK = 8 << 30, 64


def write_records(folder, out, labels=None, shard_bytes: int = SHARD_BYTES) -> int:
    """Write the pictures of FOLDER/<class>/<file>, byte for byte, into OUT as MindRecord, with the label list.

    Args:
        labels: class names in the order of their indices; by default the folder's, sorted.
        shard_bytes: about how many bytes of pictures go into one file.

    Returns:
        The number of pictures.

    Raises:
        DataError: a damaged picture or another fault of the tree; then nothing is written.
        UsageError: OUT exists.
    """
    from mindspore.mindrecord import FileWriter

    pictures = without_damage(list_pictures(folder, labels), quiet=False)
    total = sum(pictures.file(i).stat().st_size for i in range(len(pictures)))
    require_space(out, total)
    with atomic_dir(out) as temporary:
        writer = FileWriter(str(temporary / FILE), 1 + total // shard_bytes)
        writer.add_schema({"path": {"type": "string"}, "label": {"type": "int32"}, "image": {"type": "bytes"}})
        for i in tqdm(range(0, len(pictures), CHUNK), desc="write", unit="chunk", leave=False, delay=1):
            writer.write_raw_data(
                [
                    {
                        "path": pictures.paths[k],
                        "label": int(pictures.targets[k]),
                        "image": pictures.file(k).read_bytes(),
                    }
                    for k in range(i, min(i + CHUNK, len(pictures)))
                ]
            )
        writer.commit()
        for path in temporary.iterdir():
            path.chmod(0o644)  # MindSpore writes 0600
        write_labels(temporary / LABELS, pictures.labels)
    return len(pictures)


def main(argv: list[str]) -> int:
    """`glorext mindrecord`."""
    parser = make_parser(
        "mindrecord",
        "Write pictures as MindRecord files, which training reads faster where files are slow to open.",
        "glorext mindrecord pictures/ records/",
    )
    parser.add_argument("folder", metavar="FOLDER", help="pictures, FOLDER/<class>/<file>, or a list of them")
    parser.add_argument("out", metavar="OUT", help="new folder, which --data and --val_dir take")
    parser.add_argument("--labels", help="class names, one per line; by default those of FOLDER, sorted")
    arguments = parser.parse_args(argv)
    labels = read_labels(arguments.labels) if arguments.labels else None
    print(f"{arguments.out}: {write_records(arguments.folder, arguments.out, labels)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(run("glorext mindrecord", lambda: main(sys.argv[1:])))
