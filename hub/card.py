"""The card of a package, in MindSpore Hub's own format: YAML front matter, then Markdown.

Cards are written for the official client's reader, which is narrow: exactly two lines of the file start with `---`,
the text is ASCII, and no value but a link holds a colon. `read_card` reads by the same rules, as hostile input.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import yaml

from glorext.models.per_class import mean_of
from glorext.runtime import PackageError, UsageError

MAX_CARD_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 14  # PyYAML reads some 50 kB a second
MAX_DEPTH, MAX_DIGITS = 8, 40
REQUIRED = (
    "model-name",
    "backbone-name",
    "module-type",
    "fine-tunable",
    "model-version",
    "author",
    "update-time",
    "repo-link",
    "user-id",
    "used-for",
    "mindspore-version",
    "license",
    "summary",
)
USED_FOR = ("inference", "extract-feature", "transfer-learning")
MODULE_TYPES = ("audio", "cv", "nlp", "recommend", "other")
FILE_FORMATS = ("ckpt", "air", "onnx", "mindir", "mslite")
MAY_HOLD_COLON = ("repo-link", "asset", "evaluation")
ONE_LINE = re.compile(r"[ -~]+")
CONTROL = re.compile(r"[^\n\t -~]")
REPO_LINK = re.compile(r"https?://[A-Za-z0-9.-]+\.com/[\w.-]+/[\w.-]+(?:/tree/[\w.-]+/[\w./-]*[\w-])?", re.ASCII)
REPO_LINK_FORM = "https://HOST.com/GROUP/REPO or .../GROUP/REPO/tree/BRANCH/PATH, without a slash at the end"
LINK = re.compile(r"https?://[^\s<>\"]+")


class _StrictLoader(yaml.SafeLoader):
    """safe_load without aliases (a few of them expand to gigabytes), repeated keys and deep nesting."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_DEPTH} levels of nesting")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node and node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
            raise yaml.YAMLError(f"a number of more than {MAX_DIGITS} characters")
        return node

    def construct_mapping(self, node, deep=False):
        known = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"the key {key!r}, which is no string")
            if key in known:
                raise yaml.YAMLError(f"the key {key!r} twice")
            known.add(key)
        return super().construct_mapping(node, deep)


def strict_yaml(text: str, where) -> dict:
    """A YAML mapping, read without running or expanding anything.

    Raises:
        PackageError: a tag that is not plain YAML, an alias, a repeated key, nesting beyond 8, a number of more than
            40 characters, not a mapping, more than 16 kB.
    """
    if len(text) > MAX_HEADER_BYTES:
        raise PackageError(expected=f"at most {MAX_HEADER_BYTES:,} bytes of YAML", found=f"{len(text):,}", where=where)
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise PackageError(expected="plain YAML", found=reason[:200], where=where) from error
    if not isinstance(value, dict):
        raise PackageError(expected="a YAML mapping", found=type(value).__name__, where=where)
    return value


def split_card(text: str, where="card.md") -> tuple[str, str]:
    """Front matter and body of a card.

    Raises:
        PackageError: not exactly two lines that start with `---`.
    """
    lines = text.splitlines(keepends=True)
    marks = [number for number, line in enumerate(lines) if line.startswith("---")]
    if len(marks) != 2:
        raise PackageError(expected="exactly two lines that start with '---'", found=len(marks), where=where)
    return "".join(lines[marks[0] + 1 : marks[1]]), "".join(lines[marks[1] + 1 :])


def read_card(path) -> tuple[dict, str]:
    """Front matter and body of the card at `path`, checked by `check_front_matter`."""
    path = Path(path)
    data = path.read_bytes()
    if len(data) > MAX_CARD_BYTES:
        raise PackageError(expected=f"at most {MAX_CARD_BYTES:,} bytes", found=f"{len(data):,}", where=path)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise PackageError(
            expected="ASCII text", found=f"byte {data[error.start]:#x} at offset {error.start}", where=path
        ) from error
    if odd := CONTROL.search(text):
        # some of them end lines for one reader and not for another
        raise PackageError(expected="no control characters", found=repr(odd.group()), where=path)
    if path.stem.lower().endswith("cn"):
        raise PackageError(expected="a card whose name does not end in 'cn'", found=path.name, where=path.parent)
    header, body = split_card(text, path)
    front = strict_yaml(header, path)
    check_front_matter(front, path)
    for line in body.splitlines():
        if line.startswith("#") and line.rstrip().endswith(":"):
            raise PackageError(expected="headings without a colon at their end", found=repr(line[:100]), where=path)
    return front, body


def check_front_matter(front: dict, where="card.md") -> None:
    """Raise PackageError, naming the field, where MindSpore Hub's client would refuse the front matter."""

    def wrong(key, expected, found=None):
        found = repr(front.get(key))[:200] if found is None else found
        raise PackageError(expected=expected, found=found, where=f"{where}: {key}")

    for key in REQUIRED:
        if front.get(key) in (None, ""):
            wrong(key, "a value", "none")
        if type(front[key]) is not (bool if key == "fine-tunable" else str):
            wrong(key, "true or false" if key == "fine-tunable" else "a string (quote it)")
    for key, value in front.items():
        if key not in MAY_HOLD_COLON and ":" in str(value):
            wrong(key, "no colon")
    if front["module-type"].split("-")[0].lower() not in MODULE_TYPES:
        wrong("module-type", f"one of {', '.join(MODULE_TYPES)}")
    if not set(front["used-for"].split("/")) <= set(USED_FOR):
        wrong("used-for", f"{', '.join(USED_FOR)}, joined by '/'")
    if not REPO_LINK.fullmatch(front["repo-link"]):
        wrong("repo-link", REPO_LINK_FORM)
    if type(front.get("accuracy", 0)) not in (int, float):
        wrong("accuracy", "a number")
    _check_assets(front.get("asset", []), wrong)


def _check_assets(assets, wrong) -> None:
    if not isinstance(assets, list):
        wrong("asset", "a list")
    for asset in assets:
        if not isinstance(asset, dict) or set(asset) != {"asset-link", "asset-sha256", "file-format"}:
            wrong("asset", "asset-link, asset-sha256 and file-format in each entry", repr(asset)[:200])
        if asset["file-format"] not in FILE_FORMATS:
            wrong("asset", f"file-format of {', '.join(FILE_FORMATS)}", repr(asset["file-format"])[:100])
        if not re.fullmatch("[0-9a-f]{64}", str(asset["asset-sha256"])):
            wrong("asset", "an asset-sha256 of 64 hex digits", repr(asset["asset-sha256"])[:100])
        if not LINK.fullmatch(str(asset["asset-link"])):
            wrong("asset", "an asset-link that is a URL", repr(asset["asset-link"])[:200])


def front_matter(front: dict) -> str:
    """`front` as YAML that both readers take back unchanged: strings that look like numbers are quoted."""
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=False, default_flow_style=False, width=10_000)


@lru_cache(maxsize=1)
def environment():
    """The templates of this folder; an unknown variable in one is an error."""
    import jinja2

    # autoescape for pages only: cards and Python files are not HTML
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: bool(name and ".html" in name),
    )
    templates.globals.update(percent=percent, cell=cell, mean_of=mean_of)
    return templates


def cell(text: str) -> str:
    """`text` inside a card's table: ASCII, on one line, without the table's own mark."""
    return " ".join(text.replace("|", "/").split()).encode("ascii", "backslashreplace").decode()


def percent(fraction: float | None) -> str:
    """0.98611 as "98.61 %"; "-" for None."""
    return "-" if fraction is None else f"{fraction * 100:.2f} %"


def check_text(text: str, what: str) -> str:
    """`text` when a card can carry it as a value and as a line of its own; else UsageError.

    Printable ASCII on one line (the official client cannot read other characters under LC_ALL=C), no colon, no mark of
    Markdown or of the front matter at its start, at most 500 characters.
    """
    odd = next((char for char in text if not ONE_LINE.fullmatch(char) or char == ":"), None)
    if odd:
        raise UsageError(expected="printable ASCII on one line, without a colon", found=repr(odd), where=what)
    if not text.strip() or text != text.strip() or text.startswith(("---", "#", "```", "|", ">")) or len(text) > 500:
        raise UsageError(
            expected="1 to 500 characters that start neither with a space nor with ---, #, ```, | or >",
            found=repr(text[:100]),
            where=what,
        )
    return text


def render_card(front: dict, **facts) -> str:
    """The text of a card; `facts` are what templates/card.md.j2 shows. The result passes `read_card`'s rules.

    Raises:
        PackageError: a value that the format cannot carry, such as a summary with a colon.
    """
    check_front_matter(front)
    text = environment().get_template("card.md.j2").render(header=front_matter(front), front=front, **facts)
    split_card(text)
    return text
