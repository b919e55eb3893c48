"""SIGTERM and Ctrl-C ask a run to stop after the present step."""

from __future__ import annotations

import signal
import threading


class StopSignals:
    """While this context lasts, SIGTERM and Ctrl-C set `requested`. Only the main thread can receive signals.

    They are not told apart: MindSpore turns Ctrl-C during a graph into SIGTERM.
    """

    def __init__(self):
        self.requested = False

    def _note(self, number, frame):
        self.requested = True

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        self.handlers = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)} if main else {}
        return self

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
