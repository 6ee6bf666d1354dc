"""What a person can be called."""

import unicodedata
from collections.abc import Iterable

from maskfr_utils.faces.layout import plain_name
from maskfr_utils.names import unknown

UNKNOWN = "unknown"


def tidy(name: str) -> str:
    """A person's name as it is kept: one spelling of accents, no blanks around it.

    Raises:
        ValueError: no name, one that cannot be printed, or "unknown".
    """
    tidied = unicodedata.normalize("NFC", str(name)).strip()
    if not tidied or len(tidied) > 200 or not tidied.isprintable():
        raise ValueError(f"a person's name must be 1 to 200 printable characters, got {str(name)[:50]!r}")
    if tidied.casefold() == UNKNOWN:
        raise ValueError(f'nobody can be called "{UNKNOWN}": it is what strangers are called')
    return tidied


def spellings(name: str, people: Iterable[str]) -> list[str]:
    """The people who are called so, in whatever case and with whatever blanks: one, or several where they were spelt apart.

    Raises:
        ValueError: nobody is.
    """
    people, plain = list(people), plain_name(tidy(name))
    found = [person for person in people if plain_name(person) == plain]
    if not found:
        raise ValueError(unknown("person", tidy(name), people))
    return found
