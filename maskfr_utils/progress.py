"""How far a run has come: a live line on a terminal, lines now and then elsewhere, and the same lines in a log file."""

import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from tqdm import tqdm

LIVE_SECONDS = 1.0  # between updates on a terminal
LINE_SECONDS = 5.0  # between lines, at least
LINES = 200  # of a whole run, about: the longer it takes, the farther apart they are

WARMUP_STEPS = 5  # steps of a process that its throughput leaves out


class Progress:
    """Tells where training stands.

    Args:
        title: of the run.
        epochs, steps: of the whole run.
        done: steps that were taken before.
        batch: pictures a step.
        log: file to which lines are appended; none: no file.
        quiet: say nothing at all.
    """

    def __init__(
        self, title: str, epochs: int, steps: int, done: int, batch: int, log: Path | None = None, quiet: bool = False
    ):
        self.epochs, self.steps, self.first, self.batch, self.log, self.quiet = epochs, steps, done, batch, log, quiet
        self.live = not quiet and sys.stderr.isatty()
        self.started = self.shown = self.written = time.monotonic()
        self.whole = 0.0  # seconds that the run will have taken, about
        self.bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=not self.live, mininterval=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def due(self) -> bool:
        """Whether it is time for `show`: what it is given may have to be fetched from the device."""
        now = time.monotonic()
        return not self.quiet and (self._line_is_due(now) or (self.live and now - self.shown >= LIVE_SECONDS))

    def show(self, epoch: int, step: int, loss: float, accuracy: float) -> None:
        """Tells where the run stands.

        Args:
            epoch: the one in course, from 1.
            step: steps taken in all.
            loss, accuracy: means over the epoch so far.
        """
        now = self.shown = time.monotonic()
        pace = max(step - self.first, 1) / max(now - self.started, 1e-6)
        left = (self.steps - step) / pace
        self.whole = now - self.started + left
        if self.live:
            where = f"epoch {epoch}/{self.epochs}, loss {loss:.2f}, accuracy {accuracy:.3f}"
            self.bar.set_postfix_str(f"{where}, {pace * self.batch:.1f} images/s", refresh=False)
            self.bar.update(step - self.bar.n)
        if self._line_is_due(now):
            self.written = now
            self._line(
                f"epoch {epoch}/{self.epochs}, step {step}/{self.steps}, loss {loss:.2f}, accuracy {accuracy:.3f}, "
                f"{pace * self.batch:.1f} images/s, {timedelta(seconds=round(left))} left"
            )

    def epoch(self, entry: dict[str, float]) -> None:
        """Tells what an epoch adds to the history; of very many epochs, those that fall due."""
        now = time.monotonic()
        if not self.quiet and (self.epochs <= LINES or self._line_is_due(now)):
            self.written = now
            self._line(", ".join(f"{name} {value:.4g}" for name, value in entry.items()), live=True)

    def _line_is_due(self, now: float) -> bool:
        return now - self.written >= max(LINE_SECONDS, self.whole / LINES)

    def _line(self, text: str, live: bool = False) -> None:
        if not self.live or live:
            tqdm.write(text, file=sys.stderr)
        write_log(self.log, text)


def write_log(path: Path | None, text: str) -> None:
    """Appends a line with the time to a log file; a disk that takes no more does not stop the run."""
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n")
    except OSError:
        pass


class Speed:
    """Training pictures a second in the steady state: all counts but the first steps of a process and what is skipped.

    Attributes:
        images, seconds: what was counted.
    """

    def __init__(self, images: int = 0, seconds: float = 0.0):
        self.images, self.seconds = images, seconds
        self.steps, self.last = 0, 0.0

    def tick(self, images: int) -> None:
        """A step over so many pictures has ended."""
        now = time.perf_counter()
        self.steps += 1
        if self.steps > WARMUP_STEPS:
            self.images += images
            self.seconds += now - self.last
        self.last = now

    def skip(self) -> None:
        """Leave out the time since the last step."""
        self.last = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        """The throughput; 0 where the run was too short to have one."""
        return self.images / self.seconds if self.seconds else 0.0
