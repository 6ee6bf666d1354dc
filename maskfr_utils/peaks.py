"""The memory that some work takes at its peak: in a process of its own, whose memory was never larger before."""

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from maskfr_utils.messages import start_command

STATUS = Path("/proc/self/status")


def peak() -> int:
    """The most bytes that this process has held so far."""
    if STATUS.exists():  # Linux's ru_maxrss begins at what the parent held
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module gives, computed in a process that has done nothing else, and that ends with this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        return pool.submit(work, *arguments).result()


def end_with_parent() -> None:
    """What a worker begins with: where its parent is killed, it would wait for its next task for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    start_command()
    threading.Thread(target=wait, daemon=True).start()
