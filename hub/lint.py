"""`glorext lint`: see `glorext.models.lint`."""

from __future__ import annotations

import json
from pathlib import Path

from glorext.models.lint import lint, table
from glorext.runtime.cli import parser

from .open_model import add_model_arguments, open_model


def main(argv: list[str]) -> int:
    """The command; status 1 when an error was found."""
    arguments = parser(
        "lint",
        "Tell which network a checkpoint holds, and what is wrong with it.",
        "glorext lint resnext50.ckpt --labels labels.txt",
    )
    add_model_arguments(arguments, network=False)
    arguments.add_argument("--json", action="store_true", help="print the report as JSON")
    options = arguments.parse_args(argv)
    path = Path(options.what).expanduser()
    if path.is_file() and path.suffix != ".md":
        # As it is: what is wrong with a file may be just what would keep it from being opened as a model.
        report = lint(path, options.labels)
    else:
        model = open_model(options.what, options.registry, labels=options.labels)
        report = lint(model.checkpoint, model.labels or None)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return int(any(finding["level"] == "error" for finding in report["findings"]))
