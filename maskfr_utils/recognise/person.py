"""What a person can be called."""

import unicodedata

UNKNOWN = "unknown"


def tidy(name: str) -> str:
    """A person's name as it is compared: one spelling of accents, no blanks around it.

    Raises:
        ValueError: no name, one that cannot be printed, or "unknown".
    """
    tidied = unicodedata.normalize("NFC", str(name)).strip()
    if not tidied or len(tidied) > 200 or not tidied.isprintable():
        raise ValueError(f"a person's name must be 1 to 200 printable characters, got {str(name)[:50]!r}")
    if tidied.casefold() == UNKNOWN:
        raise ValueError(f'nobody can be called "{UNKNOWN}": it is what strangers are called')
    return tidied
