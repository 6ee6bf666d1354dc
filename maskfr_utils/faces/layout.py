"""Who is on a picture, from where it lies: in `<person>/<picture>`, below any folders, also in groups of people.

Groups are folders side by side that hold people: `train/ann/1.jpg` and `test/ann/2.jpg`, or `women/ann/1.jpg` and
`men/bob/1.jpg`. A person's name may be spelt in several ways: composed or not (Unicode), in other case, with blanks.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from maskfr_utils.faces.archives import Entry
from maskfr_utils.messages import brief

PARTS = frozenset(
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"]
)  # groups that share their people


@dataclass(frozen=True)
class Layout:
    """Pictures of people.

    Attributes:
        entries: named `<identity>/<picture>`; between the two stand the group, where there are several, and the folder's own
            spelling of the name, where it is not the identity's.
        found_as: of those named otherwise than below the archive's folders above the people, that name by the new one.
        skipped: how many pictures lie elsewhere, by reason.
        notes: what was understood beyond the plain layout, a sentence each.
    """

    entries: list[Entry]
    found_as: dict[str, str]
    skipped: Counter[str]
    notes: list[str]


def plain_name(name: str) -> str:
    """A person's name without what two spellings of it may differ in: composition, case, blanks at the ends or doubled."""
    return " ".join(unicodedata.normalize("NFC", name).lower().split())


def arrange(listed: Iterable[Entry]) -> Layout:
    """Names pictures by person: the folder that they lie in, at the depth of most pictures.

    Raises:
        ValueError: two groups hold a person of one name, and it is not said that groups share people (`PARTS`).
    """
    listed = list(listed)
    depths = Counter(entry.name.count("/") for entry in listed if "/" in entry.name)
    depth = max(depths, key=lambda d: (depths[d], -d), default=None)
    inside = [entry for entry in listed if entry.name.count("/") == depth]
    places = Counter(_placed(entry.name)[:2] for entry in inside)
    groups = sorted({group for group, _ in places})
    _refuse_ambiguous(places)
    spellings = defaultdict(Counter)
    for (_, person), count in places.items():
        spellings[plain_name(person)][person] += count
    identity = {key: max(sorted(counts), key=counts.__getitem__) for key, counts in spellings.items()}
    named = {place: _named(*place, identity[plain_name(place[1])], groups) for place in places}
    entries, found_as = [], {}
    for entry in inside:  # of millions of pictures few or none are named otherwise: what is not copied takes no memory
        group, person, picture = _placed(entry.name)
        name, found = f"{named[group, person]}/{picture}", f"{person}/{picture}" if len(groups) == 1 else entry.name
        entries.append(entry if name == entry.name else entry._replace(name=name))
        if found != name:
            found_as[name] = found
    skipped = Counter({"not at <identity>/<picture>": len(listed) - len(entries)})
    return Layout(entries, found_as, +skipped, _notes(groups, spellings, identity))


def _placed(name: str) -> tuple[str, str, str]:
    """The folder above the person, the person's folder, and the picture."""
    folder, _, picture = name.rpartition("/")
    group, _, person = folder.rpartition("/")
    return group, person, picture


def _named(group: str, person: str, identity: str, groups: list[str]) -> str:
    """What the pictures in a person's folder of a group are to be named below."""
    parts = [identity, *([_tail(group, groups)] if len(groups) > 1 else []), *([person] if person != identity else [])]
    return "/".join(parts)


def _refuse_ambiguous(places: Iterable[tuple[str, str]]) -> None:
    where = defaultdict(set)
    for group, person in places:
        where[plain_name(person)].add(group)
    for person, groups in where.items():
        if len(groups) > 1 and not {group.rpartition("/")[2].lower() for group in groups} <= PARTS:
            first, second = sorted(groups)[:2]
            raise ValueError(
                f"who is on the pictures: '{first}' and '{second}' both hold a folder '{person}'. Lay them as <person>/<picture>, "
                "or name the folders above the people train, validation and test"
            )


def _tail(group: str, groups: list[str]) -> str:
    """A group's name below the folders that all groups lie in."""
    parts = [name.split("/") for name in groups]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return "/".join(group.split("/")[shared:])


def _notes(groups: list[str], spellings: dict[str, Counter[str]], identity: dict[str, str]) -> list[str]:
    notes = []
    if len(groups) > 1:
        named = ", ".join(brief(_tail(group, groups)) for group in groups[:5]) + ", ..." * (len(groups) > 5)
        notes.append(f"{len(groups)} groups of people, taken together: {named}")
    several = {key: counts for key, counts in spellings.items() if len(counts) > 1}
    for key, counts in sorted(several.items())[:5]:
        others = ", ".join(repr(name) for name in sorted(counts) if name != identity[key])
        notes.append(f"{others} taken as another spelling of {identity[key]!r}")
    if len(several) > 5:
        notes.append(f"{len(several) - 5} more people whose names are spelt in several ways")
    return notes
