"""One spelling, that of the interfaces which the code calls: color, normalize, license."""

import re
from pathlib import Path

from .checkout import ROOT, files

# American -> how British English writes the same stem. This file alone has these words.
BRITISH = {
    "color": "colour",
    "gray": "grey",
    "center": "centre",
    "catalog": "catalogue",
    "neighbor": "neighbour",
    "behavior": "behaviour",
    "honor": "honour",
    "favor": "favour",
    "license": "licence",
    "labeled, labeling": "labell(?:ed|ing)",
    "canceled": "cancelled",
    "artifact": "artefact",
    "-ize, -ization": "(?:normal|initial|recogn|organ|optim|quant|serial|summar|minim|maxim|special)is(?:e|ing|at)",
}
WORDS = re.compile("(?i)(?:" + "|".join(f"(?P<w{i}>{stem})" for i, stem in enumerate(BRITISH.values())) + ")")


def british(text):
    """[(line, the word found, the spelling wanted)] of a text."""
    wanted = list(BRITISH)
    return [
        (number, found[0], wanted[int(found.lastgroup[1:])])
        for number, line in enumerate(text.splitlines(), 1)
        for found in WORDS.finditer(line)
    ]


def test_every_text_of_the_checkout_has_one_spelling():
    wrong, read = [], 0
    for name in files():
        path = ROOT / name
        if path.is_symlink() or path == Path(__file__):
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # no text
        read += 1
        wrong += [f"{name}:{line}: {word!r}, here {wanted}" for line, word, wanted in british(text)]
    assert read > 200
    assert not wrong, "\n".join(wrong)


def test_a_british_word_is_found_inside_a_name_too():
    text = "a fine color\nlast_colour = Grey\nis initialised, a deinitialisation"
    assert british(text) == [
        (2, "colour", "color"),
        (2, "Grey", "gray"),
        (3, "initialise", "-ize, -ization"),
        (3, "initialisat", "-ize, -ization"),
    ]
