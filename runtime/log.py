"""Loggers of the project: children of one, so that a program that embeds glorext can steer them with one call."""

from __future__ import annotations

import logging
import sys

from .errors import printable


def get_logger(name: str) -> logging.Logger:
    """The logger `glorext.NAME`. A library prints nothing by itself: `log_to_stderr` is for the command line."""
    return logging.getLogger(f"glorext.{name}")


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, in which nothing that a server sent can steer the terminal."""
        return printable(super().formatMessage(record))


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show glorext's log on stderr, once per process."""
    root = logging.getLogger("glorext")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(name)s: %(message)s"))
        root.addHandler(handler)
    root.setLevel(level)
