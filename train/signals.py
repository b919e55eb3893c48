"""SIGTERM and Ctrl-C ask a run to stop after the present step."""

from __future__ import annotations

import signal
import threading

from glorext.runtime.cli import owns_process


class StopSignals:
    """While this context lasts, SIGTERM and Ctrl-C set `requested`. Only the main thread can receive signals.

    They are not told apart: MindSpore turns Ctrl-C during a graph into SIGTERM. Once a stop was requested, a process
    that is there for the run alone passes over more of them until it ends.
    """

    def __init__(self):
        self.requested, self.signaled = False, False

    def _note(self, number, frame):
        self.requested = self.signaled = True

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        self.handlers = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)} if main else {}
        return self

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, signal.SIG_IGN if self.signaled and owns_process() else handler)
