"""Where pictures come from: a folder, a list, a zip, a tar, WebDataset shards, a RecordIO file, or one picture.

Each is read by one class, here.

Archives come from anywhere. Nothing of them is ever written to disc, no name leads out of them, no picture takes more
memory than `MAX_BYTES`, and a broken one gives what it holds up to there. What is left out is counted by reason.

Another format is a class with `knows`, `_members` and `_opened`, and its entry in `FORMATS`.
"""

import bz2
import csv
import gzip
import json
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from operator import attrgetter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple

from maskfr_utils.faces import recordio
from maskfr_utils.faces.pictures import LONGEST_NAME, MAX_BYTES, NEEDED, SUFFIXES, TOO_LONG, PictureError, file_bytes
from maskfr_utils.messages import brief

LANDMARKS = "landmarks68.npz"  # beside the pictures, and read with them: not counted as a file that is no picture
LABEL_BYTES = 2**16  # of a shard's member that says who is on a picture
LIST_BYTES = 2**30  # of a list of pictures; one of a million has 60 MB


class Entry(NamedTuple):
    """One picture: `name` below the archive's top, its `size` in bytes, and the `place` where the archive finds it."""

    name: str
    size: int
    place: Any


Read = Callable[[Entry], bytes]


class Archive:
    """Encoded pictures by name; made by `open_archive`.

    Attributes:
        leave_out: a folder that is not looked into.
        skipped: how many files the last `entries` left out, by reason.
        listed: whether all entries may be held in memory at once; where not, they hold the pictures themselves.
    """

    listed = True

    def __init__(self, path: Path):
        self.path = path
        self.leave_out: Path | None = None
        self.skipped: Counter[str] = Counter()

    @staticmethod
    def knows(path: Path) -> bool:
        """Whether a path is of this format."""
        raise NotImplementedError

    def _members(self) -> Iterator[Entry]:
        """All files that can be read safely, under any name; the others are counted in `skipped`.

        Raises:
            ValueError: there is nothing that can be read.
        """
        raise NotImplementedError

    def _opened(self) -> AbstractContextManager[Read]:
        """What reads a member, up to some bytes beyond `MAX_BYTES`; errors of any kind are the caller's."""
        raise NotImplementedError

    @property
    def files(self) -> list[Path]:
        """The files that the pictures lie in, where these are few and large."""
        return [self.path]

    def count(self) -> int | None:
        """How many pictures there are, where a file that is not listed tells."""
        return None

    def entries(self) -> Iterator[Entry]:
        """All pictures, each name once; the order is the same each time. Names can be written as UTF-8."""
        self.skipped, names = Counter(), set()
        for name, size, place in self._members():
            path = PurePosixPath(name)
            is_picture = path.suffix.lower() in SUFFIXES
            if path.name.startswith(".") or "__MACOSX" in path.parts:
                continue  # what operating systems leave behind
            if any(folder.startswith(".") for folder in path.parts):
                self.skipped["in a hidden folder"] += is_picture
            elif not is_picture:
                self.skipped[NEEDED.get(path.suffix.lower(), "not a picture, by its name")] += path.name != LANDMARKS
            elif self._takes(name := _posix(name), names):
                yield Entry(name, size, place)
        self.skipped = +self.skipped

    def _takes(self, name: str, names: set[str]) -> bool:
        """Whether a picture may have this name beside those of `names`, to which it is added then."""
        if name in names:
            self.skipped["name occurs twice"] += 1
        elif len(os.fsencode(name)) > LONGEST_NAME:
            self.skipped["name too long"] += 1
        else:
            names.add(name)
            return True
        return False

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """A function that gives the bytes of an entry; PictureError, with the reason, where it cannot."""
        with self._opened() as read_member:

            def read(entry: Entry) -> bytes:
                if entry.size > MAX_BYTES:
                    raise PictureError(TOO_LONG)
                try:
                    data = read_member(entry)
                except (EOFError, zlib.error, lzma.LZMAError):
                    raise PictureError("truncated") from None
                except Exception as error:  # damaged archives raise nearly anything
                    raise PictureError("unreadable") from error
                if len(data) < entry.size:
                    raise PictureError("truncated")
                return data

            yield read


class Folder(Archive):
    """Pictures below a folder, in order of their names. Links are followed: the folder is the user's own."""

    @staticmethod
    def knows(path: Path) -> bool:
        return path.is_dir()

    def _members(self) -> Iterator[Entry]:
        def cannot(_: OSError) -> None:
            self.skipped["folder that cannot be read"] += 1

        seen = set()
        for folder, folders, files in os.walk(self.path, onerror=cannot, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen or (self.leave_out and Path(real) == self.leave_out.resolve()):  # or a link that leads back
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                if (size := _size(path)) is not None:
                    name = path.relative_to(self.path).as_posix()
                    yield Entry(name, size, name)
                elif path.suffix.lower() in SUFFIXES:
                    self.skipped["not a regular file"] += 1

    def _opened(self) -> AbstractContextManager[Read]:
        return nullcontext(self._read)

    def _read(self, entry: Entry) -> bytes:
        return file_bytes(self.path / entry.place)


class Picture(Folder):
    """One picture."""

    @staticmethod
    def knows(path: Path) -> bool:
        return path.suffix.lower() in SUFFIXES

    def _members(self) -> Iterator[Entry]:
        yield Entry(self.path.name, self.path.stat().st_size, "")


class Zip(Archive):
    """Pictures of a zip, in order of their names."""

    @staticmethod
    def knows(path: Path) -> bool:
        return path.suffix.lower() == ".zip" or _starts_with(path, b"PK\3\4", b"PK\5\6")

    def _members(self) -> Iterator[Entry]:
        with self._open() as archive:
            members = archive.infolist()
        for member in sorted(members, key=lambda member: _posix(member.filename)):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.filename.endswith("/"):
                continue
            if kind not in (0, stat.S_IFREG) or not _is_safe(member.filename):
                self.skipped["unsafe zip member"] += 1
            elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                self.skipped["zip member neither stored nor deflated"] += 1  # zipfile unpacks these without a limit
            elif member.flag_bits & 1:
                self.skipped["encrypted zip member"] += 1
            else:
                yield Entry(member.filename, member.file_size, member)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:  # damaged zips raise nearly anything
            raise ValueError(f"{self.path} is no zip that can be read ({error}): was it copied to its end?") from error

    @contextmanager
    def _opened(self) -> Iterator[Read]:
        with self._open() as archive:

            def read(entry: Entry) -> bytes:
                with archive.open(entry.place) as member:
                    return member.read(MAX_BYTES + 1)

            yield read


class Tar(Archive):
    """Pictures of a tar: in order of their names, or, where it is compressed, in the archive's own order."""

    COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}  # noqa: RUF012

    @staticmethod
    def knows(path: Path) -> bool:
        return path.is_file()  # or at least nothing else is known about it

    def _open(self) -> IO[bytes]:
        openers = (opener for start, opener in self.COMPRESSIONS.items() if _starts_with(self.path, start))
        return next(openers, open)(self.path, "rb")

    def _members(self) -> Iterator[Entry]:
        entries = []
        for member in self.headers():
            if member.isdir():
                continue
            if not member.isreg() or member.sparse or member.size < 0 or not _is_safe(member.name):
                self.skipped["unsafe tar member"] += 1
            else:
                entries.append(Entry(member.name, member.size, member.offset_data))
        is_compressed = _starts_with(self.path, *self.COMPRESSIONS)
        yield from entries if is_compressed else sorted(entries, key=lambda entry: _posix(entry.name))

    def headers(self) -> Iterator[tarfile.TarInfo]:
        """All members up to where the archive ends or breaks."""
        end = -1
        with self._open() as file:
            try:
                with tarfile.open(fileobj=_HeaderFile(file), mode="r:") as archive:
                    while (member := archive.next()) is not None and archive.offset > end:
                        end = archive.offset  # a negative size would lead in circles
                        yield member
                        archive.members.clear()  # tarfile would keep them all
                    # tarfile takes a broken header for the end; the true end is a block of zeros.
                    file.seek(archive.offset)
                    whole = file.read(512) == bytes(512)
            except Exception as error:  # damaged tars raise nearly anything
                if end < 0:
                    raise ValueError(
                        f"{self.path} is neither a folder nor a tar, zip or RecordIO file: {error}"
                    ) from error
                whole = False
        if not whole:
            self.skipped["rest of the tar, which ends abruptly"] += 1

    @contextmanager
    def _opened(self) -> Iterator[Read]:
        with self._open() as file:

            def read(entry: Entry) -> bytes:
                file.seek(entry.place)
                return file.read(entry.size)

            yield read


class _HeaderFile:
    """What `tarfile` may read of a tar: a name that claims 2^60 bytes is refused, not allocated."""

    LONGEST = 2**15

    def __init__(self, file: IO[bytes]):
        self.tell, self.seek, self._read = file.tell, file.seek, file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.LONGEST:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._read(size)


class Shards(Archive):
    """WebDataset shards: tars in which `<key>.jpg` has `<key>.cls`, or `<key>.json`, beside it, that says who it shows.

    A folder of such tars, or one. `.cls` holds a number or name, `.json` one of `NAMES`. Named
    `<identity>/<shard>_<key>`; they come shard by shard, and are not listed.
    """

    listed = False
    NAMES = ("cls", "label", "identity", "class", "id")

    @staticmethod
    def knows(path: Path) -> bool:
        try:
            shards = _shards(path)
        except OSError:
            return False
        return bool(shards) and _has_samples(shards[0]) and not _has_pictures(path)

    @property
    def files(self) -> list[Path]:
        return _shards(self.path)

    def entries(self) -> Iterator[Entry]:
        self.skipped, names = Counter(), set()
        for shard in self.files:
            tar = Tar(shard)
            try:
                samples = _samples(tar)
            except ValueError:
                self.skipped["shard that is no tar"] += 1
                continue
            with tar.reader() as read:
                for key, members in samples.items():
                    try:
                        entry = self._sample(f"{shard.stem}_{key}", members, read)
                    except PictureError as error:
                        self.skipped[str(error)] += 1
                        continue
                    if self._takes(entry.name, names):
                        yield entry
            self.skipped.update(tar.skipped)

    def _sample(self, name: str, members: dict[str, Entry], read: Read) -> Entry:
        """The picture of a sample, as an entry that holds it.

        Raises:
            PictureError: it has none, or nothing says who is on it.
        """
        pictures = [entry for suffix, entry in members.items() if f".{suffix}" in SUFFIXES]
        labels = [members[suffix] for suffix in ("cls", "json") if suffix in members]
        if not pictures or not labels:
            raise PictureError("sample without a picture" if labels else "sample that does not say who it shows")
        if labels[0].size > LABEL_BYTES:
            raise PictureError("sample whose label is too long")
        # In the order of the archive, where going back means to unpack it again.
        data = {entry: read(entry) for entry in sorted([pictures[0], labels[0]], key=attrgetter("place"))}
        who = self.who(data[labels[0]], labels[0].name.lower().endswith(".json"))
        return Entry(f"{who}/{_flat(_posix(name))}", len(data[pictures[0]]), data[pictures[0]])

    @staticmethod
    def who(label: bytes, is_json: bool) -> str:
        """Whom a label names.

        Raises:
            PictureError: nobody.
        """
        try:
            value = label.decode()
            if is_json:
                fields = json.loads(value)
                value = next(fields[name] for name in Shards.NAMES if name in fields)
            return _person(value)
        except (ValueError, TypeError, StopIteration, RecursionError):
            raise PictureError("sample that does not say who it shows") from None

    def _opened(self) -> AbstractContextManager[Read]:
        return nullcontext(attrgetter("place"))


class Listed(Folder):
    """Pictures below the folder of a list that says who is on them.

    A `.csv` has columns `path` and `identity` (by its first line; others are left out); a `.lst`, MXNet's, has lines `number<tab>label<tab>path`,
    whose further labels are left out. Paths are relative to the list's folder, and lead to no other.
    """

    @staticmethod
    def knows(path: Path) -> bool:
        return path.is_file() and path.suffix.lower() in (".csv", ".lst")

    def _members(self) -> Iterator[Entry]:
        if self.path.stat().st_size > LIST_BYTES:
            raise ValueError(f"{self.path} is no list of pictures: above {LIST_BYTES:,} bytes")
        top = self.path.parent
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            try:
                for name, person in self._rows(file):
                    place = name.strip().removeprefix(f"{top}/").removeprefix("./")
                    if not person or not _is_safe(place) or "\0" in place:
                        self.skipped["outside the list's folder" if person else "nobody is named"] += 1
                    elif (size := _size(top / place)) is None:
                        self.skipped["file that is not there"] += 1
                    else:
                        yield Entry(f"{_posix(person)}/{_flat(place)}", size, place)
            except csv.Error as error:
                raise ValueError(f"{self.path} is no list of pictures: {brief(error, 80)}") from None

    def _rows(self, file: IO[str]) -> Iterator[tuple[str, str]]:
        """Path and identity of each row."""
        if self.path.suffix.lower() == ".lst":
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row:
                    yield row[-1], f"{float(row[1]):07.0f}" if len(row) > 2 and _is_label(row[1]) else ""
            return
        rows = csv.DictReader(file)
        if not {"path", "identity"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"{self.path} has no columns `path` and `identity`: its first line is {brief(rows.fieldnames, 100)}"
            )
        for row in rows:
            try:
                yield row["path"] or "", _person(row["identity"])
            except ValueError:
                yield "", ""

    def _opened(self) -> AbstractContextManager[Read]:
        return nullcontext(self._read_listed)

    def _read_listed(self, entry: Entry) -> bytes:
        return file_bytes(self.path.parent / entry.place)


class Records(Archive):
    """An MXNet RecordIO file (MS1M-RetinaFace, MS1MV2, Glint360K): `<label>/<number of the record>`, in its own order.

    It holds millions of pictures, which are therefore not listed, but read as they come.
    """

    listed = False

    def __init__(self, path: Path):
        super().__init__(path / "train.rec" if path.is_dir() else path)
        next(recordio.read_records(self.path), None)  # refuses another kind of file at once

    @staticmethod
    def knows(path: Path) -> bool:
        return path.suffix == ".rec" or (path / "train.rec").is_file()

    def entries(self) -> Iterator[Entry]:
        self.skipped = Counter()
        try:
            for number, label, data in recordio.read_pictures(self.path):
                yield Entry(f"{label:07d}/{number:08d}", len(data), data)
        except recordio.BrokenRecordError:
            self.skipped["rest of the file, which is broken"] += 1

    def count(self) -> int | None:
        return recordio.promised(self.path)

    def _opened(self) -> AbstractContextManager[Read]:
        return nullcontext(attrgetter("place"))


FORMATS: tuple[type[Archive], ...] = (
    Records,
    Shards,
    Listed,
    Folder,
    Picture,
    Zip,
    Tar,
)  # the first that knows a path reads it


def open_archive(path: str | Path, leave_out: Path | None = None) -> Archive:
    """The pictures of a folder, list, zip, tar (.tar, .tar.gz, .tar.bz2, .tar.xz), shards or RecordIO file, or one picture.

    A folder with a `train.rec` is read as that file; the folder `leave_out` in a folder is not looked into.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: it is no file or folder, or a picture that cannot be read here.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no picture, folder or tar, zip or RecordIO file at {path}")
    if not (path.is_dir() or path.is_file()):
        raise ValueError(f"{path} is neither a folder nor a file")
    if path.is_file() and (needed := NEEDED.get(path.suffix.lower())):
        raise ValueError(f"{path} is {needed}")
    archive = next(known for known in FORMATS if known.knows(path))(path)
    archive.leave_out = leave_out
    return archive


def _is_safe(name: str) -> bool:
    """Whether a member's name stays below the archive's top, on any system."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive)


def _size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none, nobody may ask, or the name is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _posix(name: str) -> str:
    """A name in its plain spelling, storable as UTF-8: bytes that are no text, and NUL, are written as escapes."""
    return PurePosixPath(name).as_posix().encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _starts_with(path: Path, *starts: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(6).startswith(starts)


def _person(value: object) -> str:
    """A person's name, or a label's number with seven digits, as a part of a path.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < recordio.MOST:
        return f"{value:07d}"
    if not isinstance(value, str):
        raise ValueError("no name")
    name = " ".join(value.split())
    if name.isascii() and name.isdecimal() and len(name) <= 7:
        return f"{int(name):07d}"
    if not name.strip(".") or len(name) > 200:
        raise ValueError("no name")
    return _flat(_posix(name))


def _flat(name: str) -> str:
    """A path as one part of a path, which hides no file; two paths never give the same."""
    return re.sub(r"^\.", "%2E", _posix(name).replace("%", "%25").replace("/", "%2F"))


def _is_label(text: str) -> bool:
    try:
        return 0 <= float(text) < recordio.MOST and float(text).is_integer()
    except ValueError:
        return False


def _shards(path: Path) -> list[Path]:
    """The tars directly in a folder, or the path itself."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith((".tar", ".tar.gz", ".tgz")))


def _has_pictures(folder: Path) -> bool:
    """Whether pictures lie in a folder as files of their own, so that a tar among them is no shard; in a file none do."""
    return next(Folder(folder).entries(), None) is not None


def _samples(tar: Tar) -> dict[str, dict[str, Entry]]:
    """The members of a shard by key and suffix; a key ends at the first dot of its last part."""
    samples: dict[str, dict[str, Entry]] = {}
    for entry in tar._members():
        folder, _, file = entry.name.rpartition("/")
        key, _, suffix = file.partition(".")
        samples.setdefault(f"{folder}/{key}".lstrip("/"), {})[suffix.lower()] = entry
    return samples


def _has_samples(path: Path) -> bool:
    """Whether among the first members of a tar are a picture and its label; a JSON is one if it says who is shown."""
    found: dict[str, dict[str, Entry]] = {}
    tar = Tar(path)
    try:
        for member in islice(tar.headers(), 8):
            key, _, suffix = PurePosixPath(member.name).name.partition(".")
            found.setdefault(key, {})[suffix.lower()] = Entry(member.name, member.size, member.offset_data)
        with tar.reader() as read:
            return any(
                "cls" in sample or _names_somebody(sample.get("json"), read)
                for sample in found.values()
                if any(f".{suffix}" in SUFFIXES for suffix in sample)
            )
    except (ValueError, OSError):
        return False


def _names_somebody(label: Entry | None, read: Read) -> bool:
    try:
        return label is not None and 0 <= label.size <= LABEL_BYTES and bool(Shards.who(read(label), True))
    except PictureError:
        return False
