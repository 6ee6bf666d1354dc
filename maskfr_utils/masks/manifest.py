"""What a masked folder holds and what is left to do: `manifest.jsonl`, a first line of settings, then one a picture."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Self

from maskfr_utils.masks.kinds import NO_MASK
from maskfr_utils.messages import brief, shown
from maskfr_utils.paths import as_file_systems_may, is_file, remove_temporaries

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "manifest.jsonl"
_START = b'{"style"'  # of the first line


def coverage_name(name: str) -> str:
    """The name of the coverage mask of a masked picture: a PNG, whatever the picture is."""
    return name if name.endswith(".png") else f"{name}.png"


def coverage_key(name: str) -> str:
    """`coverage_name`, alike for names that some file systems take for one: by case, or by how accents are written."""
    return as_file_systems_may(coverage_name(name))


class Manifest:
    """The manifest of a folder; begun where there is none, read and gone on with where there is.

    A last line that was cut off when an earlier call was stopped is dropped, and so are the halves of pictures that a killed
    one left. A context manager: until it is left, no other call can write into the folder.

    Args:
        folder: that holds the masked pictures.
        settings: what all pictures have in common; a manifest of other ones is refused.

    Attributes:
        done: size and crc32 of each source by its name, of the pictures that need not be drawn again; None where it could
            not be read.
        owners: the source of each coverage mask that is there, by the mask's name, see `coverage_key`.
        counts: of "pictures", "faces", and what was skipped, by reason; of a source that has changed its last picture counts.

    Raises:
        ValueError: the manifest is another program's, broken, or of other settings, or pictures lie there without one.
    """

    def __init__(self, folder: Path, settings: dict):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        if not self.path.exists():
            self._refuse_others(folder)
        self._file = self.path.open("a", encoding="utf-8")
        self._lock()
        self.done: dict[str, tuple[int, int | None]] = {}
        self._told: dict[str, str | tuple[int, int, int]] = {}  # of each source why it was skipped, or its faces
        self.owners: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        whole = self._read(json.loads(json.dumps(settings)))
        os.truncate(self.path, whole)
        if not whole:
            self._write(settings)
        for part in ("images", "coverage"):
            for inside, _, _ in os.walk(folder / part):
                remove_temporaries(Path(inside), older_than=0)

    @staticmethod
    def _refuse_others(folder: Path) -> None:
        """Pictures that no manifest names are somebody's, and would be written over."""
        if others := next(
            (at for part in ("images", "coverage") for at in (folder / part).rglob("*") if at.is_file()), None
        ):
            raise ValueError(f"{others} is there already, and no manifest of ours: name another folder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, entry: dict) -> None:
        """Counts a picture's entry and writes it down, so that it outlives a kill."""
        self._count(entry)
        self._write(entry)

    def _write(self, line: dict) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another call is writing into {self.path.parent}: wait for it, or name another folder"
            ) from None
        except OSError:
            return  # a file system without locks

    def _read(self, settings: dict) -> int:
        """Takes in all whole lines; returns how many bytes they have. Settings of which nothing came count as none."""
        whole, first = 0, None
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    entry = None
                if entry is None or not line.endswith(b"\n"):
                    ours = number > 0 or line.startswith(_START) or _START.startswith(line)
                    if line.endswith(b"\n") or not ours:
                        raise ValueError(
                            f"{self.path}, line {number + 1} is broken: move the folder away and begin anew"
                        )
                    break
                if number == 0:
                    first = self._settings(entry)
                else:
                    if number == 1:
                        self._check(first, settings)
                    self._take(entry, number)
                whole += len(line)
        return 0 if whole and not self.done and not self._told and first != settings else whole

    def _settings(self, found: object) -> dict:
        if not isinstance(found, dict) or not found.keys() >= {"style", "seed"}:
            raise ValueError(f"{self.path} is no manifest of masked pictures: name another folder")
        return found

    def _check(self, found: dict, settings: dict) -> None:
        if found != settings:
            changed = sorted(k for k in found.keys() | settings.keys() if found.get(k) != settings.get(k))
            told = ", ".join(f"{name} {shown(found.get(name))}, now {shown(settings.get(name))}" for name in changed)
            raise ValueError(brief(f"{self.path.parent} was begun with {told}: name another folder"))

    def _take(self, entry: object, number: int) -> None:
        try:
            name, size, out = entry["source"], entry["size"], entry.get("out")
            folder = self.path.parent
            if out is None or (is_file(folder / "images" / out) and is_file(folder / "coverage" / coverage_name(out))):
                self._count(entry)
                self.done[name] = size, entry.get("crc32")
                if out is not None:
                    self.owners[coverage_key(out)] = name
        except (AttributeError, KeyError, TypeError):
            raise ValueError(
                f"{self.path}, line {number + 1} is of another program: move the folder away and begin anew"
            ) from None

    def _count(self, entry: dict) -> None:
        name = entry["source"]
        if "skipped" in entry:
            told = entry["skipped"]
            if not isinstance(told, str):
                raise TypeError("a reason is text")
        else:
            kinds = entry["kinds"]
            bare = kinds.count(NO_MASK)
            told = sum(map(bool, kinds)) - bare, bare, kinds.count("")
        if name in self._told:
            self.counts.subtract(_counted(self._told[name]))
        self._told[name] = told
        self.counts.update(_counted(told))


def _counted(told: str | tuple[int, int, int]) -> dict[str, int]:
    """What a source adds to the counts: a reason, or faces masked, left bare by the style, and without a mask."""
    if isinstance(told, str):
        return {told: 1}
    faces, bare, without = told
    return {"pictures": 1, "faces": faces, "faces left bare by the style": bare, "faces without a mask": without}
