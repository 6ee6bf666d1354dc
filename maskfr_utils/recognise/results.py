"""What naming a folder of photos leaves: annotated pictures, a table as CSV and as JSON."""

import contextlib
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import matplotlib.font_manager
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskfr_utils.faces.archives import open_archive
from maskfr_utils.messages import cell
from maskfr_utils.paths import replacing
from maskfr_utils.recognise.compare import photos
from maskfr_utils.recognise.gallery import UNKNOWN, Gallery, Match
from maskfr_utils.records import write_json

NAMED, STRANGER = "#0072b2", "#d55e00"  # of a palette that colour-blind people can tell apart
SMALLEST = 480  # pixels of an annotated picture's shorter side: names must be legible
SMALLEST_TEXT = 14  # pixels of a label
COLUMNS = ("picture", "name", "cosine", "threshold", "nearest", "left", "top", "right", "bottom", "notes")
TABLES = ("names.csv", "names.json")
BEGUN = "pictures/.annotated"  # the pictures of a call that has not ended: those of the call before, and its own
NO_PIXELS = np.empty((0, 0, 3), np.uint8)
_ANNOTATED = re.compile(r"pictures/\d{5,}-[A-Za-z0-9-]{0,40}\.jpg")


@dataclass(frozen=True)
class Named:
    """A photo whose faces were named.

    Attributes:
        picture: its name.
        matches: one for each face.
        problem: why there is none, in words.
        annotated: the annotated picture, below the folder of the results.
    """

    picture: str
    matches: tuple[Match, ...] = ()
    problem: str = ""
    annotated: str = ""

    def rows(self) -> list[dict[str, object]]:
        """A line of the table for each face, or one that says why there is none."""
        if not self.matches:
            return [dict.fromkeys(COLUMNS, "") | {"picture": self.picture, "notes": self.problem}]
        return [
            {
                "picture": self.picture,
                "name": match.name,
                "cosine": round(match.cosine, 4),
                "threshold": round(match.threshold, 4),
                "nearest": match.nearest,
                **dict(zip(("left", "top", "right", "bottom"), match.box, strict=True)),
                "notes": ", ".join(match.notes),
            }
            for match in self.matches
        ]


def name_photos(gallery: Gallery, source: str | Path, out: str | Path) -> tuple[list[Named], Counter]:
    """Names everybody in a photo, or a folder, zip or tar of photos, and leaves `pictures/`, `names.csv` and `names.json`.

    Tables and pictures that an earlier call left there make way: its tables at once, since they would tell of other pictures if
    this call is cut off, and the pictures that they name, once all is written. Ctrl-C leaves the tables of the photos so far.

    Args:
        gallery: who is known.
        source: the photos, at any depth.
        out: folder for the results, which may not lie in the source.

    Returns:
        A result for each photo, without the pixels of its faces, and how many other files were left out, by reason.

    Raises:
        FileNotFoundError: no such source.
        ValueError: no photo in it, nobody is enrolled, `out` lies in the source, or holds such files of others.
    """
    source, out = Path(source), Path(out)
    archive = open_archive(source)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"{out} lies in {source}: the annotated pictures would be named next time; choose another folder"
        )
    if not len(gallery):
        raise ValueError("nobody is enrolled")
    before, named = _annotated_before(out), []
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    (out / BEGUN).write_text("".join(f"{picture}\n" for picture in sorted(before)))
    try:
        for name, photo, why_not in photos(archive):
            if not named:
                for table in TABLES:
                    (out / table).unlink(missing_ok=True)
            matches = gallery.name(photo) if photo is not None else []
            named.append(_annotated(name, photo, matches, why_not, out, len(named) + 1, before))
    except KeyboardInterrupt:
        if named:
            write_tables(named, archive.skipped, gallery, out, stopped=True)
        raise
    if not named:
        (out / BEGUN).unlink()
        told = ", ".join(f"{count} {reason}" for reason, count in archive.skipped.items())
        raise ValueError(f"no photo in {source}" + (f": {told}" if told else ""))
    write_tables(named, archive.skipped, gallery, out)
    if not source.resolve().is_relative_to((out / "pictures").resolve()):  # else they are the photos that were named
        for picture in before - {photo.annotated for photo in named}:
            (out / picture).unlink(missing_ok=True)
    (out / BEGUN).unlink()
    return named, archive.skipped


def _annotated(
    name: str, photo: np.ndarray | None, matches: list[Match], why_not: str, out: Path, number: int, ours: set[str]
) -> Named:
    """The result of a photo, whose annotated picture is written; ValueError where one that is not `ours` would be lost."""
    if not matches:
        return Named(name, problem=why_not or "no face")
    picture = f"pictures/{number:05d}-{re.sub(r'[^A-Za-z0-9]+', '-', Path(name).stem)[:40]}.jpg"
    if picture not in ours and (out / picture).exists():
        raise ValueError(f"{out / picture} is there already, and no picture of ours: choose another folder")
    with (out / BEGUN).open("a") as begun:
        begun.write(f"{picture}\n")
    with replacing(out / picture) as temporary:
        annotate(photo, matches).save(temporary, "JPEG", quality=92)
    kept = tuple(replace(match, image=NO_PIXELS) for match in matches)  # thousands of photos would fill the memory
    return Named(name, kept, annotated=picture)


def write_tables(
    named: Sequence[Named], skipped: Counter, gallery: Gallery, out: Path, *, stopped: bool = False
) -> None:
    """Writes `names.csv`, a line a face, and `names.json`, which also says by what rule faces were named, and if not all were."""
    with replacing(out / TABLES[0]) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in (row for photo in named for row in photo.rows()):
            table.writerow({column: cell(value) for column, value in row.items()})
    content = {
        "network": gallery.embedder.fingerprint,
        "enrolled": {"people": len(gallery.people), "photos": len(gallery)},
        "rate": gallery.rate,
        "threshold": gallery.threshold,
        "validation": gallery.calibration.validation,
        "skipped": dict(skipped),
        "stopped": stopped,
        "pictures": [
            {"picture": photo.picture, "annotated": photo.annotated, "problem": photo.problem}
            | {"faces": [{k: v for k, v in asdict(match).items() if k != "image"} for match in photo.matches]}
            for photo in named
        ],
    }
    write_json(out / TABLES[1], content)


def annotate(photo: np.ndarray, matches: Sequence[Match]) -> Image.Image:
    """The photo (height, width, 3) uint8 RGB with a box round each face, its name, the cosine and what is wrong."""
    height, width = photo.shape[:2]
    factor = max(1.0, SMALLEST / min(height, width)) if max(height, width) < 4 * SMALLEST else 1.0
    image = Image.fromarray(photo).resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    largest, taken = max(SMALLEST_TEXT, round(min(image.size) / 18)), []
    boxes = [[round(value * factor) for value in match.box] for match in matches]
    colours = [STRANGER if match.name == UNKNOWN else NAMED for match in matches]
    for box, colour in zip(boxes, colours, strict=True):  # before the labels, none of which is crossed by a box then
        draw.rectangle(box, outline=colour, width=max(2, largest // 8))
    for match, (left, top, right, bottom), colour in zip(matches, boxes, colours, strict=True):
        text = f"{match.name} {match.cosine:.2f}" + "".join(f"\n{note}" for note in match.notes)
        fits = (right - left - 4) / draw.multiline_textbbox((0, 0), text, font=_font(largest))[2]
        size = max(SMALLEST_TEXT, int(largest * min(1.0, fits)))  # as wide as the face, so that neighbours have room
        wide, high = (round(value) + 4 for value in draw.multiline_textbbox((0, 0), text, font=_font(size))[2:])
        x = min(max(left, 0), max(0, image.width - wide))
        places = [(x, min(max(y, 0), max(0, image.height - high))) for y in (bottom, top - high, bottom + high, top)]
        x, y = next((place for place in places if _free(place, wide, high, taken)), places[0])
        taken.append((x, y, x + wide, y + high))
        draw.rectangle(taken[-1], fill=colour)
        draw.multiline_text((x + 2, y + 1), text, fill="white", font=_font(size))
    return image


def _annotated_before(out: Path) -> set[str]:
    """The annotated pictures that an earlier call's table names, or its list if it was cut off: none but these are ours to delete.

    Raises:
        ValueError: there are tables of others.
    """
    pictures, ours = set(), (out / BEGUN).exists()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        told = json.loads((out / TABLES[1]).read_text(encoding="utf-8"))
        pictures |= {str(photo["annotated"]) for photo in told["pictures"]}
        ours = True
    if not ours and (there := next((out / table for table in TABLES if (out / table).exists()), None)):
        raise ValueError(f"{there} is there already, and no table of ours: choose another folder")
    with contextlib.suppress(OSError, ValueError):
        pictures |= set((out / BEGUN).read_text().splitlines())
    return set(filter(_ANNOTATED.fullmatch, pictures))


def _free(place: tuple[int, int], wide: int, high: int, taken: list[tuple[int, int, int, int]]) -> bool:
    """Whether a label at this place covers none of those that are written already."""
    x, y = place
    return all(x + wide <= a or c <= x or y + high <= b or d <= y for a, b, c, d in taken)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib's own: it has Greek and Cyrillic letters and accents, and is there on every machine.
    return ImageFont.truetype(matplotlib.font_manager.findfont("DejaVu Sans"), size)
