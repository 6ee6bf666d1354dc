"""What errors say: one line, however long or odd the value that they name."""

import atexit
import gc
import reprlib
import sys
from types import TracebackType

LIMIT = 300  # characters of a message

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxother, _repr.maxlong = 2, 80, 80, 40


def brief(text: object, limit: int = LIMIT) -> str:
    """`text` on one line of at most `limit` characters: what is longer loses its middle."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    if len(line) <= limit:
        return line
    tail = limit // 3
    return f"{line[: limit - tail - 3]} … {line[-tail:]}"


def shown(value: object) -> str:
    """`repr(value)`, in bounded time and length, whatever the value holds."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else "a value too long to be shown"


def cell(value: object) -> object:
    """A cell of a table that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def start_command() -> None:
    """What every command begins with.

    It prints names that its terminal's encoding lacks, as escapes: no locale may end it half-way. It ends at once: Python
    searches all of torch for reference cycles before it leaves, which takes as long as a third of loading it. And Ctrl-C,
    where a command has nothing of its own to say of it, ends it in a word.
    """
    atexit.register(gc.freeze)
    sys.excepthook = _tell
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


class PlainError(Exception):
    """An error that a user can mend; its text, on one line, says how. A notebook shows that line, and no traceback."""

    def __init__(self, text: object = ""):
        super().__init__(brief(text))

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{type(self).__name__}: {self}"]
