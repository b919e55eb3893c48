"""What the readmes and docs/*.md say, taken apart: their commands, Python, tables, links, and what they name."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README_CN.md")
# What holds now; CHANGELOG.md also names what there was.
PAGES = (*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
STARTS = ("glorext ", "python -m glorext", "python benchmarks/", "make ")


@dataclass(frozen=True)
class Block:
    """Code between fences or indented by four spaces; `language` is "" where the page does not say."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a page; `complete` where it is meant to be typed as it stands, and no mention in a sentence."""

    page: str
    text: str
    complete: bool


def blocks(page):
    """The code blocks of a page, in order."""
    found, language, lines = [], None, []
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        fence = re.fullmatch(r"```(\w*)", line)
        if fence and language is None:
            language, lines = fence[1], []
        elif language is not None:
            if fence:
                found.append(Block(page.name, language, "\n".join(lines)))
                language, lines = None, []
            else:
                lines.append(line)
        elif line.startswith("    "):
            lines.append(line[4:])
        elif lines:
            text = "\n".join(lines)
            python = re.match(r"import |from ", text)
            found.append(Block(page.name, "python" if python else "text" if re.search("->|<-", text) else "bash", text))
            lines = []
    assert language is None, f"{page.name}: a fence is open at the end"
    return found


def prose(page):
    """The lines of a page outside its code blocks."""
    kept, fenced = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            kept.append(line)
    return kept


def spans(page):
    """Code in the sentences and tables of a page; one that a line break divides is put together."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", "\n".join(prose(page)))]


def commands(page):
    """All commands of a page, in order, those of blocks and tables before those of sentences."""
    found = []
    for block in blocks(page):
        if block.language in ("", "bash", "sh"):
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.split("#")[0].strip():
                    found.append(Command(page.name, line, True))
    alone = []
    for line in prose(page):
        for cell in line.strip("|").split("|") if line.startswith("|") else ():
            code = re.fullmatch(r"\s*`([^`]+)`\s*", cell)
            if code and code[1].startswith(STARTS):
                alone.append(code[1])
    found += [Command(page.name, text, True) for text in alone]
    mentioned = [text for text in spans(page) if text.startswith(STARTS) and text not in alone]
    return found + [Command(page.name, text, False) for text in mentioned]


def tables(page):
    """The tables of a page as lists of rows, each a list of cells; the line under the heading is left out."""
    found, rows = [], []
    for line in [*prose(page), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            found.append(rows)
            rows = []
    return found
