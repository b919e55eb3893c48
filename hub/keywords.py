"""`glorext search`: the models whose name, network, license or summary hold certain words."""

from __future__ import annotations

import json

from glorext.runtime import NotFoundError
from glorext.runtime.cli import parser

from .listing import offers, table
from .open_model import add_registry_argument

SEARCHED = ("name", "network", "license", "summary", "uids")


def search(words: list[str], registry=None) -> list[dict]:
    """The entries of `offers` that hold every one of `words`, in small or capital letters."""
    return [
        row
        for row in offers(registry)
        if all(any(word.casefold() in str(row[key]).casefold() for key in SEARCHED) for word in words)
    ]


def main(argv: list[str]) -> None:
    """`glorext search WORD...`."""
    arguments = parser(
        "search",
        "Show the models whose name, network, license, summary or MindSpore Hub identifier hold all the words.",
        "glorext search resnext50 --registry models/registry",
    )
    arguments.add_argument("words", nargs="+", metavar="WORD")
    add_registry_argument(arguments)
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    rows = search(options.words, options.registry)
    if options.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(rows))
    else:
        raise NotFoundError(
            expected=f"a model with {' and '.join(map(repr, options.words))}",
            found="none",
            do="`glorext list` shows all that there is.",
        )
