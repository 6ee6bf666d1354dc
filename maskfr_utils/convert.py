"""From one format of data to another, without a tool of its own for each.

python -m maskfr_utils.convert people/ packed/ --to recordio        # train.rec, train.idx, train.lst, property
python -m maskfr_utils.convert packed/ shards/ --to webdataset      # shards-000000.tar ...
python -m maskfr_utils.convert train.rec people/ --to folder        # people/<identity>/<picture>
python -m maskfr_utils.convert lfw/ lfw.bin --to bin                # pairs by lfw/pairs.txt
"""

import argparse
import io
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from tqdm.auto import tqdm

from maskfr_utils import store
from maskfr_utils.faces import recordio, sources, verification
from maskfr_utils.faces.pictures import PictureError, suffix_of
from maskfr_utils.messages import brief, start_command
from maskfr_utils.paths import as_file_systems_may, find_data, replacing

SHARD = 10_000  # pictures a WebDataset shard
LONGEST = 240  # bytes of a file's name; file systems allow 255, and some have to be told apart
JPEG = (".jpg", ".jpeg")
KINDS = ("recordio", "webdataset", "folder", "bin")

Sample = tuple[str, str, bytes]  # identity, name below it, encoded picture


def convert(source: str | Path, out: str | Path, to: str, *, faces: bool = True, progress: bool = True) -> str:
    """Writes the pictures of any source as another format; files of that format in `out` are replaced, a `folder` must be new.

    Args:
        source: what `sources.open_source` reads; for `bin`, LFW's folder with its `pairs.txt`.
        out: a folder, or for `bin` a file.
        to: one of `KINDS`.
        faces: detect and align, and write JPEGs of 112 x 112; else each picture is written byte for byte.
        progress: show a bar.

    Returns:
        What was written and what was left out, in a line.

    Raises:
        FileNotFoundError: no such source.
        ValueError: an unknown format, a source with nothing in it that can be used, or `out` would lie in it or hold it.
        OSError: the disk is full, or cannot be written to.
    """
    source, out = find_data(source), Path(out)
    here, there = source.resolve(), out.resolve()
    if to != "bin" and (here.is_relative_to(there) or there.is_relative_to(here)):  # a bin is one file
        raise ValueError(
            f"{out} is, holds or lies in the source {source}, whose pictures it would mix with: name another"
        )
    if to == "bin":
        pictures, same = verification.read_lfw_pairs(source)
        skipped: Counter[str] = Counter()
        if faces:
            pairs = verification.decode_pairs(pictures, same)
            pictures, same = [store.encode(face) for face in pairs.images.reshape(-1, 112, 112, 3)], pairs.same.tolist()
            skipped = pairs.skipped
        if not same:
            raise ValueError(f"no pair to write to {out}{_left_out(skipped)}")
        verification.write_verification_bin(out, pictures, same)
        return f"{len(same):,} pairs -> {out}{_left_out(skipped)}"
    write = {"recordio": recordio.write_set, "webdataset": write_shards, "folder": write_folder}.get(to)
    if write is None:
        raise ValueError(f"unknown format {to!r}: one of {', '.join(KINDS)}")
    opened = sources.open_source(source)
    bar = tqdm(opened.pictures(), desc=f"to {to}", total=opened.total, unit="picture", disable=not progress)
    skipped = Counter()
    count, people = write(out, samples(opened, bar, faces, skipped))
    return f"{count:,} pictures of {people:,} identities -> {out}{_left_out(skipped + opened.skipped)}"


def _left_out(skipped: Counter[str]) -> str:
    told = ", ".join(f"{n:,} {reason}" for reason, n in sorted(skipped.items()))
    return f"; left out: {told}" if told else ""


def samples(
    source: sources.Source, pictures: Iterator[tuple[str, bytes]], faces: bool, skipped: Counter[str]
) -> Iterator[Sample]:
    """Each picture, aligned where asked for; what cannot be used is counted in `skipped`."""
    for name, data in pictures:
        identity, _, rest = name.partition("/")
        try:
            if faces:
                data = store.encode(sources.to_face(name, data, source.landmarks.get(name)).image)
                rest = rest if Path(rest).suffix.lower() in JPEG else f"{rest}.jpg"
            yield identity, rest, data
        except PictureError as error:
            skipped[str(error)] += 1


def write_shards(folder: Path, pictures: Iterator[Sample]) -> tuple[int, int]:
    """Writes WebDataset shards of `SHARD` pictures: `<number>.jpg` with `<number>.cls`, the label, and `.txt`, the identity.

    Returns:
        How many pictures and identities were written.

    Raises:
        ValueError: no picture.
    """
    labels: dict[str, int] = {}
    count = 0
    for shard in range(10**6):
        if (first := next(pictures, None)) is None:
            break
        if not shard:  # those of an earlier call: their labels are other people's
            for left in folder.glob(f"shards-{'[0-9]' * 6}.tar"):
                left.unlink()
        with replacing(folder / f"shards-{shard:06d}.tar") as temporary, tarfile.open(temporary, "w") as archive:
            for identity, name, data in chain([first], islice(pictures, SHARD - 1)):
                label = labels.setdefault(identity, len(labels))
                suffix = suffix_of(name) or ".jpg"
                for ending, content in ((suffix, data), (".cls", b"%d" % label), (".txt", identity.encode())):
                    member = tarfile.TarInfo(f"{count:09d}{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                count += 1
    if not count:
        raise ValueError(f"no picture to write to {folder}")
    return count, len(labels)


def write_folder(folder: Path, pictures: Iterator[Sample]) -> tuple[int, int]:
    """Writes `<identity>/<picture>`; what would lead out of the folder is refused.

    Returns:
        How many pictures and identities were written.

    Raises:
        ValueError: an identity or picture whose name is no file's, or the folder holds something.
    """
    if folder.is_dir() and next(folder.iterdir(), None):
        raise ValueError(f"{folder} is not empty: name a new folder")
    people: dict[str, str] = {}  # identity -> its folder
    taken, written = set(), set()
    for identity, name, data in pictures:
        file = name.replace("/", "_")
        if len(encoded := os.fsencode(file)) > LONGEST:
            file = encoded[-LONGEST:].decode(errors="ignore")
        if identity not in people:
            short = os.fsencode(identity)[:LONGEST].decode(errors="ignore")
            while short in taken:  # another's, whose name begins alike
                short += "_"
            taken.add(short)
            people[identity] = short
        path = folder / people[identity] / (file if suffix_of(file) else f"{file}.jpg")
        if path.parent.parent != folder or identity in ("", ".", "..") or file in ("", ".", "..") or "\0" in f"{path}":
            raise ValueError(f"{brief(f'{identity}/{name}', 100)!r} is no name of a file in {folder}")
        # A name may be another picture's already, spelt otherwise.
        while (key := as_file_systems_may(str(path))) in written:
            path = path.with_name(f"{path.stem}_{path.suffix}")
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        written.add(key)
    if not written:
        raise ValueError(f"no picture to write to {folder}")
    return len(written), len(people)


def main(argv: list[str] | None = None) -> int:
    """Convert from the command line."""
    parser = argparse.ArgumentParser(prog="python -m maskfr_utils.convert", description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a folder, list, zip, tar, shards or RecordIO file of pictures of people")
    parser.add_argument("out", help="the folder to write; for bin, the file")
    parser.add_argument("--to", choices=KINDS, required=True, help="the format to write")
    parser.add_argument(
        "--as-they-are", dest="faces", action="store_false", help="neither detect nor align: copy the pictures"
    )
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    start_command()
    try:
        print(convert(**vars(parser.parse_args(argv))))
    except (OSError, ValueError) as error:
        print(f"error: {brief(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
