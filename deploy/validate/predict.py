"""`glorext predict`: what is on these pictures, as a table, as JSON lines or as CSV, one line for each as it comes."""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from glorext.deploy.runners.common import BACKENDS, DEVICES, MINDSPORE_DEVICES, Request
from glorext.deploy.validate.backends import prepare
from glorext.hub.classifier import BATCH, Classifier, class_names
from glorext.hub.open_model import add_model_arguments, chosen_model
from glorext.models.picture_file import OTHER_ENDINGS, picture_fault
from glorext.models.prediction import Prediction, predictions
from glorext.models.trained import TrainedModel
from glorext.runtime import DataError, InferenceError, UsageError, get_logger, printable, set_device
from glorext.runtime.cli import parser
from glorext.train.pictures import Pictures, is_passed_over, is_picture

logger = get_logger("deploy")
LIST = "-"
# A backend that is a program starts once for each of these.
CHUNK = 256
Ask = Callable[[list[str]], list[Prediction]]
Row = tuple[str, Prediction | str]


def listed(given: Iterable[str]) -> Iterator[str]:
    """The picture files that `given` means: files as they are, folders with the pictures in any depth, "-" as a list.

    What systems leave in folders and files that are no picture by their name are passed over; a list has a path a line.

    Raises:
        DataError: no such file, or a folder without pictures.
    """
    for text in given:
        if text == LIST:
            # The names of files may be of other bytes than text.
            yield from (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer if line.strip())
        elif os.path.isdir(text):
            yield from _below(text)
        elif not os.path.exists(text):
            raise DataError(expected="a picture or a folder with pictures", found="no such file", where=text)
        else:
            yield text


def _below(folder: str) -> list[str]:
    found, others = [], 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not is_passed_over(name)), key=os.fsencode)
        found += [os.path.join(here, name) for name in sorted(files, key=os.fsencode) if is_picture(name)]
        others += sum(name.lower().endswith(OTHER_ENDINGS) for name in files)
    if others:
        logger.warning(
            "%s: passed over %d pictures of other formats than JPEG and PNG; "
            "`glorext to-png` converts class folders of them",
            folder,
            others,
        )
    if not found:
        raise DataError(expected="JPEG or PNG files", found="none", where=folder, do="Check the path.")
    return found


def answered(files: Iterable[str], ask: Ask, chunk: int) -> Iterator[Row]:
    """(file, Prediction) of each file, or (file, what is wrong with it), `chunk` at a time and in their order."""
    several = iter(files)
    while part := list(itertools.islice(several, chunk)):
        faults = {file: picture_fault(file) for file in part}
        found: dict[str, Prediction | str] = {file: fault for file, fault in faults.items() if fault}
        whole = [file for file, fault in faults.items() if not fault]
        try:
            found |= zip(whole, ask(whole)) if whole else ()
        except DataError:
            # A picture that only the decoder refuses: it alone is named, the others are answered.
            for file in whole:
                found[file] = _alone(ask, file)
        yield from ((file, found[file]) for file in part)


def _alone(ask: Ask, file: str) -> Prediction | str:
    try:
        return ask([file])[0]
    except DataError as error:
        return str(error.found or error)


def asker(source: TrainedModel, request: Request, scratch: Path) -> Ask:
    """A function from picture files to Predictions in the backend of `request`; raises as `prepare` does."""
    if request.backend == "mindspore":
        set_device(MINDSPORE_DEVICES[request.device], None if request.device == "cpu" else request.device_id)
        return Classifier(source).predict
    run = prepare(source, request, scratch)

    def ask(files: list[str]) -> list[Prediction]:
        # The backends take trees of class folders; these pictures have no class.
        with tempfile.TemporaryDirectory(prefix="glorext-predict-") as folder:
            names = [f"pictures/{number:06d}{os.path.splitext(file)[1].lower()}" for number, file in enumerate(files)]
            Path(folder, "pictures").mkdir()
            for name, file in zip(names, files):
                Path(folder, name).symlink_to(os.path.abspath(file))
            count = len(files)
            tree = Pictures(
                Path(folder), ("pictures", "others"), tuple(names), np.zeros(count, np.int32), np.arange(count), ()
            )
            results = run(tree)
        if results.paths != names:
            raise InferenceError(
                expected=f"answers for {count} pictures", found=len(results.paths), where=results.backend
            )
        return predictions(results.logits, class_names(source), results.artifact["output"])

    return ask


def make_parser():
    """The flags of `glorext predict`."""
    flags = parser(
        "predict",
        "Say what is on pictures: the class names of a model with their probabilities.",
        "glorext predict resnext50-digits val/7/0001.png",
    )
    add_model_arguments(flags)
    flags.add_argument("pictures", nargs="+", metavar="PICTURE", help="files, folders, or - for a list on stdin")
    flags.add_argument("--top", type=int, default=1, choices=range(1, 6), help="classes shown for each (default 1)")
    flags.add_argument("--format", choices=("table", "jsonl", "csv"), default="table", help="default: table")
    flags.add_argument("--skip_corrupt", action="store_true", help="broken pictures are named, and no failure")
    flags.add_argument("--backend", choices=BACKENDS, default="mindspore", help="what answers, as for `validate`")
    flags.add_argument(
        "--device", type=str.lower, choices=DEVICES, default="cpu", help="never replaced by another (cpu)"
    )
    flags.add_argument("--device_id", type=int, default=0, help="which card")
    flags.add_argument("--model", type=Path, help="a model that `glorext convert` wrote; without it, it is made now")
    return flags


def main(argv: list[str]) -> int:
    """`glorext predict`: exit status 1 when a picture is broken."""
    options = make_parser().parse_args(argv)
    if options.pictures.count(LIST) > 1:
        raise UsageError(expected="- once: there is one standard input", found=options.pictures.count(LIST))
    files: Iterable[str] = listed(options.pictures)
    if LIST not in options.pictures:
        files = list(files)  # a path that is wrong is told before the model is opened
    source = chosen_model(options)
    request = Request(options.backend, options.device, options.device_id, options.model)
    broken = count = 0
    with tempfile.TemporaryDirectory(prefix="glorext-predict-") as scratch:
        ask = asker(source, request, Path(scratch))
        alone = LIST in options.pictures  # whoever writes the list waits for each answer
        chunk = CHUNK if options.backend != "mindspore" else 1 if alone else BATCH
        show = _writer(options.format, options.top, max(map(len, files), default=0) if isinstance(files, list) else 0)
        for file, answer in answered(files, ask, chunk):
            show(file, answer)
            sys.stdout.flush()
            count, broken = count + 1, broken + isinstance(answer, str)
    if broken and not options.skip_corrupt:
        raise DataError(
            expected="whole JPEG or PNG pictures",
            found=f"{broken} of {count} broken, as listed",
            do="Replace them, or pass --skip_corrupt.",
        )
    return 0


def _writer(form: str, top: int, width: int) -> Callable[[str, Prediction | str], None]:
    if form == "jsonl":
        return lambda file, answer: print(json.dumps(_record(file, answer)))
    if form == "table":
        return lambda file, answer: print(_line(file, answer, top, width))
    rows = csv.writer(sys.stdout, lineterminator="\n")
    ranks = [""] + [str(rank) for rank in range(2, top + 1)]
    rows.writerow(["path", *(f"{key}{rank}" for rank in ranks for key in ("label", "probability")), "error"])

    def row(file: str, answer: Prediction | str) -> None:
        cells = ["", ""] * top
        if not isinstance(answer, str):
            shown = [cell for label, share in answer.top5[:top] for cell in (label, f"{share:.6f}")]
            cells[: len(shown)] = shown
        rows.writerow([_shown(file), *cells, answer if isinstance(answer, str) else ""])

    return row


def _record(file: str, answer: Prediction | str) -> dict:
    if isinstance(answer, str):
        return {"path": file, "error": answer}
    top5 = [{"label": label, "probability": share} for label, share in answer.top5]
    return {"path": file, "label": answer.label, "probability": answer.probability, "top5": top5}


def _line(file: str, answer: Prediction | str, top: int, width: int) -> str:
    if isinstance(answer, str):
        return f"{_shown(file):<{width}}  broken: {_shown(answer)}"
    return f"{_shown(file):<{width}}  " + "   ".join(
        f"{_shown(label)} {share:.1%}" for label, share in answer.top5[:top]
    )


def _shown(text: str) -> str:
    """A name in one line of a terminal."""
    return printable(text.replace("\n", "\\n"))
