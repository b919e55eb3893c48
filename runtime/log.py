"""Loggers of the project: children of one, so that a program that embeds glorext can steer them with one call."""

from __future__ import annotations

import logging
import sys

from .errors import printable


def get_logger(name: str) -> logging.Logger:
    """The logger `glorext.NAME`. A library prints nothing by itself: `log_to_stderr` is for the command line."""
    return logging.getLogger(f"glorext.{name}")


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to what sys.stderr is by now; nothing that a server sent can steer the terminal."""
        try:
            print(printable(self.format(record)), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show glorext's log on stderr, once per process."""
    root = logging.getLogger("glorext")
    if not root.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        root.addHandler(handler)
    root.setLevel(level)
