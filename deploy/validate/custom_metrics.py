"""Metrics of a user's own: a Python function by its name, called with every answer, for `glorext validate --metric`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from glorext.models.answers import Results
from glorext.models.prediction import softmax
from glorext.runtime import DataError, UsageError

# (answers (N, classes) float32, true class indices (N,) int64, class names) -> one value, or several by name.
Function = Callable[[np.ndarray, np.ndarray, tuple[str, ...]], "float | dict[str, float | None] | None"]
WANTED = "a number, None, or a dict of them by name"


@dataclass(frozen=True)
class Metric:
    """A function of the user's, `text` as it was named, MODULE:FUNCTION."""

    text: str
    function: Function

    @property
    def name(self) -> str:
        """The function's name."""
        return self.text.partition(":")[2]


@dataclass(frozen=True)
class Measured:
    """A value that a metric gave for a backend's answers, and for MindSpore's where they were compared; None where the
    metric gave None: there was nothing to measure."""

    name: str
    value: float | None
    mindspore: float | None = None


def load_metric(text: str) -> Metric:
    """The function MODULE:FUNCTION; the module is looked for in the current folder too, as `python -m` does.

    Raises:
        UsageError: `text` names no function, or its module cannot be imported; then with the file and line of the
            module at which it fails.
    """
    module, _, name = text.partition(":")
    if not (all(part.isidentifier() for part in module.split(".")) and name.isidentifier()):
        raise UsageError(expected="MODULE:FUNCTION, such as my_metrics:top3", found=text, where="--metric")
    with _current_folder():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module and not module.startswith(f"{error.name}."):
                raise _failure(error, text, None, UsageError) from error
            raise UsageError(
                expected=f"a module {module} in the current folder or installed",
                found="none",
                where="--metric",
                do="Run the command in the folder that has it, or name that in PYTHONPATH.",
            ) from None
        except (Exception, SystemExit) as error:
            raise _failure(error, text, None, UsageError) from error
    function = getattr(found, name, None)
    if not callable(function):
        raise UsageError(
            expected=f"a function {name} in {_file_of(found)}",
            found="nothing of that name" if function is None else f"a {type(function).__name__}",
            where="--metric",
        )
    return Metric(text, function)


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _failure(error: BaseException, text: str, file: str | None, kind: type[UsageError] | type[DataError]):
    """What to say of an error in the user's code: its own words, and the last line of `file` that led to it."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        ours = os.path.dirname(os.path.abspath(__file__))
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(("<frozen importlib", ours)) and "importlib" not in frame.filename
        ]
        own = [frame for frame in frames if frame.filename == (file or frames[0].filename)] or frames
        place = f"{own[-1].filename}, line {own[-1].lineno}, in {own[-1].name}" if own else text
    words = str(error).strip()
    return kind(f"the metric {text} failed with {type(error).__name__}" + (f": {words}" if words else ""), where=place)


def measured(
    metrics: Sequence[Metric], results: Results, reference: Results | None, classes: np.ndarray, labels: tuple[str, ...]
) -> tuple[Measured, ...]:
    """What `metrics` give for the answers of `results` and, to compare, of MindSpore's `reference`.

    A function that gives one value is named as it is, one that gives several as FUNCTION.KEY. It gets arrays that it
    cannot change: the answers (N, classes), float32, logits or, of a model that gives them, probabilities; the true
    class indices (N,), int64; the class names.

    Raises:
        DataError: a function failed, with the file and line of its own at which it did, or gave something else.
    """
    answers = [results.logits]
    if reference is not None:
        as_they_are = results.artifact["output"] == reference.artifact["output"]
        answers.append(reference.logits if as_they_are else softmax(reference.logits))
    found = []
    for metric in metrics:
        own, *others = (_values(metric, logits, classes, labels) for logits in answers)
        for key, value in own.items():
            found.append(Measured(key, value, others[0].get(key) if others else None))
    return tuple(found)


def _values(
    metric: Metric, logits: np.ndarray, classes: np.ndarray, labels: tuple[str, ...]
) -> dict[str, float | None]:
    arrays = np.asarray(logits, np.float32).view(), np.asarray(classes, np.int64).view()
    for array in arrays:
        array.flags.writeable = False
    with _current_folder():
        try:
            given = metric.function(*arrays, labels)
        except (Exception, SystemExit) as error:
            code = getattr(metric.function, "__code__", None)
            raise _failure(error, metric.text, code and code.co_filename, DataError) from error
    if isinstance(given, dict):
        return {f"{metric.name}.{key}": _number(metric, value, f" for {key!r}") for key, value in given.items()}
    return {metric.name: _number(metric, given, "")}


def _number(metric: Metric, value, of: str) -> float | None:
    if value is None:
        return None
    try:
        number = np.asarray(value)
        if number.ndim or number.dtype.kind not in "fiu":
            raise TypeError
        if np.isfinite(number):
            return float(number)
    except TypeError:
        raise DataError(
            expected=f"{WANTED} from the metric {metric.text}", found=f"a {type(value).__name__}{of}"
        ) from None
    raise DataError(
        expected=f"{WANTED} from the metric {metric.text}",
        found=f"{value}{of}",
        do="Let it give None where there is nothing to measure.",
    )
