"""SIGTERM and Ctrl-C ask a run to stop after the present step."""

from __future__ import annotations

import signal
import threading


class StopSignals:
    """While this context lasts, SIGTERM and Ctrl-C set `asked`. Only the main thread can receive signals.

    They are not told apart: MindSpore turns Ctrl-C during a graph into SIGTERM.
    """

    def __init__(self):
        self.asked = False

    def _note(self, number, frame):
        self.asked = True

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        self.before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)} if main else {}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
