"""Who is who across data sets: names are written in many ways, and some people are in several sets."""

import csv
import unicodedata
from collections.abc import Callable
from pathlib import Path

OVERLAP = "identity_overlap.csv"  # below the data: a line a person with the name of each set, first `normalized_name`


def plain(name: str) -> str:
    """A name without case, accents and separators, of which no two data sets write them alike; one of separators alone as it is.

    Accents are those of Latin, Greek and Cyrillic letters: marks of other scripts are vowels, and tell names apart.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in letters if unicodedata.category(c)[0] in "LNM" and not "\u0300" <= c <= "\u036f") or name


def same_people(path: Path | None = None) -> Callable[[str], str]:
    """A function from a name to the key of the person: the plain name, or that of the list where the sets' names differ.

    Args:
        path: the list, see `OVERLAP`; without it, or where there is no such file, names alone count.

    Raises:
        ValueError: it is no such list.
    """
    keys = {}
    if path is not None and path.is_file():
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    person = plain(row.pop("normalized_name"))
                    # Some sets number their people: a number names nobody elsewhere.
                    row = {name for name in row.values() if not plain(name or "").isdecimal()}
                    if not person and any(row):
                        raise KeyError("normalized_name")
                    keys |= {plain(name): person for name in row if name}
        except (KeyError, AttributeError, TypeError, UnicodeDecodeError, csv.Error):
            raise ValueError(f"{path} is no list of people with the columns normalized_name and a set each") from None
    return lambda name: keys.get(plain(name), plain(name))
