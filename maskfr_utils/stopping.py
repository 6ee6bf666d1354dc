"""Ctrl-C and SIGTERM: a run is asked to stop, finishes its step, saves and says how to go on."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Self

from maskfr_utils.messages import PlainError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 0.5  # seconds: torchrun sends on to its processes what the terminal has sent them already


class Stopped(PlainError, KeyboardInterrupt):
    """A run that was asked to stop and has saved its state; its text says how to go on.

    Args:
        text: what to say.
        number: of the signal.
    """

    def __init__(self, text: object = "", number: int = signal.SIGINT):
        super().__init__(text)
        self.number = number


class Stopping:
    """While it is entered, the first Ctrl-C or SIGTERM only asks to stop (`asked`); the second one stops at once.

    Outside the main thread, where Python takes no signals, nothing changes.

    Attributes:
        asked: number of the signal that came, else 0.
    """

    def __init__(self) -> None:
        self.asked, self._when, self._pid = 0, 0.0, os.getpid()
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._earlier = {}

    def _take(self, number: int, frame: object) -> None:
        if os.getpid() != self._pid:  # a loader's worker, forked since: the run's own process decides, and ends it
            signal.signal(number, signal.SIG_DFL)
            return
        now = time.monotonic()
        if self.asked and (int(os.environ.get("WORLD_SIZE") or 1) == 1 or now - self._when > ECHO):
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._when = number, now
            with suppress(RuntimeError):  # where the signal came amid another print
                print(
                    "\nstopping after this step; once more stops at once, without saving", file=sys.stderr, flush=True
                )
