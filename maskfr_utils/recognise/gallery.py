"""Enrolled people: an embedding of each of their photos, and whose a new face is, or nobody's."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
from torch import nn
from tqdm import tqdm

from maskfr_utils.faces.archives import open_archive
from maskfr_utils.faces.layout import plain_name
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.faces.sources import open_source
from maskfr_utils.recognise import files, quality
from maskfr_utils.recognise.calibration import Calibration
from maskfr_utils.recognise.embedder import Embedder, load_embedder
from maskfr_utils.recognise.person import UNKNOWN, tidy
from maskfr_utils.recognise.search import best_people
from maskfr_utils.recognise.validation import rendered_calibration

RATE = 0.01


@dataclass(frozen=True)
class Match:
    """Whose a face is.

    Attributes:
        name: the person, or "unknown".
        cosine: likeness to the nearest enrolled photo, -1 to 1; no probability.
        nearest: whose photo that is, also where the face is unknown.
        threshold: the cosine from which on a face is named.
        box: left, top, right, bottom in pixels of the photo.
        notes: what makes the face hard to recognise, in words.
        image: the aligned face, (112, 112, 3) uint8 RGB.
    """

    name: str
    cosine: float
    nearest: str
    threshold: float
    box: tuple[int, int, int, int]
    notes: tuple[str, ...]
    image: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Enrolment:
    """What enrolling a folder came to.

    Attributes:
        people: name -> number of enrolled photos.
        left_out: photo -> why it was not enrolled.
        notes: enrolled photo -> what is wrong with it.
        skipped: how many other files were left out, by reason.
        replaced: how many photos took the place of another one of the same person and name.
        layout: how the folder was understood where it is not plainly `<person>/<photo>`, a sentence each.
    """

    people: dict[str, int]
    left_out: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    skipped: Counter
    replaced: int
    layout: tuple[str, ...]


class Gallery:
    """People who can be named.

        >>> gallery = Gallery()
        >>> gallery.enrol("people/")
        >>> [match.name for match in gallery.name("party.jpg")]

    A face is named after the person on the most similar enrolled photo, unless even that is too unlike: then it is "unknown".

    Args:
        model: the network: a module, an `Embedder`, or what `load_embedder` takes; by default the one of the package, which
            knows rendered people only.
        rate: share of strangers, people who are not enrolled, that may be taken for somebody.
        calibration: how alike the network finds strangers; by default what its file holds, else it is measured on rendered
            people, which tells little about photos: then run `python -m maskfr_utils.recognise calibrate` on photos.
    """

    def __init__(
        self,
        model: Embedder | nn.Module | str | Path | None = None,
        *,
        rate: float = RATE,
        calibration: Calibration | None = None,
    ):
        if isinstance(model, nn.Module):
            model = Embedder(model)
        self.embedder = model if isinstance(model, Embedder) else load_embedder(model)
        self.calibration = calibration or self.embedder.calibration or rendered_calibration(self.embedder)
        self.rate = rate
        self._people: dict[str, list[str]] = {}  # name -> photos, in the order of the rows of `_embeddings`
        self._embeddings = np.empty((0, self.embedder.dim), np.float32)
        self._read_from: tuple[Path, str] | None = None

    @property
    def rate(self) -> float:
        """Share of strangers that may be taken for somebody, above 0 and below 1; another number raises ValueError."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self.calibration.threshold(rate)  # refuses what is no rate: a gallery saved with it could not be read
        self._rate = rate

    @property
    def people(self) -> dict[str, int]:
        """Name -> number of enrolled photos."""
        return {name: len(photos) for name, photos in self._people.items()}

    def __len__(self) -> int:
        """Number of enrolled photos."""
        return len(self._embeddings)

    @property
    def threshold(self) -> float:
        """The cosine from which on a face is named: it rises with the number of enrolled photos."""
        return self.calibration.threshold(self.rate, len(self))

    def enrol(self, source: str | Path, *, person: str | None = None) -> Enrolment:
        """Enrols the people of a folder; photos that are enrolled already are taken anew.

        A photo must show one face; a face much larger than all others counts as one.

        Args:
            source: a folder, zip or tar of `<person>/<photo>`; with `person` a photo, or a folder or archive of photos.
            person: whose all these photos are.

        Raises:
            FileNotFoundError: no such source.
            ValueError: nobody could be enrolled; the gallery is as it was.
        """
        if person is None:
            found = open_source(source)
            pictures, layout = found.pictures(), tuple(found.notes)
        else:
            (found, pictures), layout = _pictures_of(source, person), ()
        names, photos, faces, left_out, notes = [], [], [], {}, {}
        for photo, data in tqdm(pictures, unit="photo", leave=False, delay=2, disable=None):
            name = person or photo.split("/", 1)[0]
            try:
                name = tidy(name)
                face, why_not = quality.the_face(quality.find_faces(quality.open_photo(data)))
            except ValueError as error:
                face, why_not = None, str(error)
            if face is None:
                left_out[photo] = why_not
                continue
            names.append(name)
            photos.append(photo)
            faces.append(self.embedder(face.image[None])[0])
            if face.notes:
                notes[photo] = face.notes
        skipped = Counter(found.skipped)
        if not names:
            reasons = Counter(left_out.values()) + skipped
            raise ValueError(
                f"nobody enrolled from {source}: " + ", ".join(f"{n} {r}" for r, n in reasons.most_common(5))
            )
        names = self._spelt(names)
        replaced = self.add(names, np.array(faces), photos)
        return Enrolment(dict(Counter(names)), left_out, notes, skipped, replaced, layout)

    def add(self, people: Sequence[str], embeddings: np.ndarray, photos: Sequence[str] | None = None) -> int:
        """Enrols embeddings of this network that are known already.

        Args:
            people: (n,) whose they are; a name in another case, or with other blanks, is the same person's.
            embeddings: (n, d) float32 of length 1.
            photos: (n,) names by which they are told apart; one that the person has is replaced.

        Returns:
            How many were replaced by another one, of those that were there or of these, where two have one name.

        Raises:
            ValueError: other shapes, numbers or names.
        """
        embeddings = np.asarray(embeddings, np.float32)
        people = self._spelt(people)
        if embeddings.shape != (len(people), self.embedder.dim):
            raise ValueError(
                f"embeddings {embeddings.shape} of {len(people)} people, expected (n, {self.embedder.dim})"
            )
        if not (np.abs(np.linalg.norm(embeddings, axis=1) - 1) < 1e-3).all():  # also where one is not finite
            raise ValueError("embeddings must have length 1")
        if photos is None:
            known = {photo for theirs in self._people.values() for photo in theirs}
            unused = (name for number in count() if (name := str(number)) not in known)
            photos = list(islice(unused, len(people)))
        if len(photos) != len(people):
            raise ValueError(f"{len(photos)} photos of {len(people)} embeddings")
        rows = {(name, photo): row for row, (name, photo) in enumerate(self._rows())}
        new = dict(zip(zip(people, map(str, photos), strict=True), embeddings, strict=True))
        kept = [(key, self._embeddings[row]) for key, row in rows.items() if key not in new]
        same = sum(key in rows and np.allclose(self._embeddings[rows[key]], new[key], atol=1e-4) for key in new)
        grouped: dict[str, list[tuple[str, np.ndarray]]] = {}
        for (name, photo), embedding in [*kept, *new.items()]:
            grouped.setdefault(name, []).append((photo, embedding))
        self._people = {name: [photo for photo, _ in rows] for name, rows in grouped.items()}
        if grouped:
            self._embeddings = np.stack([embedding for rows in grouped.values() for _, embedding in rows])
        return len(rows) + len(people) - len(kept) - len(new) - same

    def _spelt(self, names: Sequence[str]) -> list[str]:
        """People's names as those who are enrolled are spelt, else as the first of them is."""
        known: dict[str, str] = {}
        for name in (*self._people, *map(tidy, names)):
            known.setdefault(plain_name(name), name)
        return [known[plain_name(tidy(name))] for name in names]

    def remove(self, person: str) -> None:
        """Forgets a person. On disk he is gone with the next `save`.

        Raises:
            ValueError: nobody of that name is enrolled.
        """
        self._people, self._embeddings = files.without([person], self._people, self._embeddings)

    def name(self, photo: np.ndarray | str | Path) -> list[Match]:
        """Names the faces of a photo, the largest and most central first; none where there is no face.

        Args:
            photo: the path of a picture, or (height, width, 3) uint8 RGB; one of 112 x 112 pixels is an aligned face.

        Raises:
            OSError: no such file.
            ValueError: no picture, or nobody is enrolled.
        """
        faces = quality.find_faces(quality.open_photo(photo))
        if not faces:
            return []
        (nearest,), (cosines,) = (found.T for found in self.nearest(self.embedder(np.array([f.image for f in faces]))))
        threshold, people = self.threshold, list(self._people)
        return [
            Match(
                people[who] if cosine >= threshold else UNKNOWN,
                float(cosine),
                people[who],
                threshold,
                face.box,
                face.notes,
                face.image,
            )
            for face, who, cosine in zip(faces, nearest, cosines, strict=True)
        ]

    def nearest(self, embeddings: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The people whose photos are most like each embedding: an exact search over all photos.

        Args:
            embeddings: (n, d) float32 of length 1.
            count: people for each.

        Returns:
            Places (n, count) in `people`, best first, and the cosines (n, count) to their most similar photos.

        Raises:
            ValueError: fewer people are enrolled.
        """
        if len(self._people) < max(1, count):
            raise ValueError(f"{len(self._people)} people are enrolled: enrol {max(1, count)} at least")
        counts = np.fromiter(map(len, self._people.values()), np.int64, len(self._people))
        return best_people(self._embeddings, np.r_[0, np.cumsum(counts)[:-1]], embeddings, count)

    def save(self, path: str | Path) -> None:
        """Writes the gallery into a folder of its own; who was removed is deleted there, too.

        `gallery.json` (names of people and photos, the network's hash, calibration), `embeddings-….safetensors`, and the
        network itself, unless it is an ONNX file. Whoever may read these files can look for the people in other
        photos: they are readable by their owner only.

        Raises:
            ValueError: there is another gallery, or it has changed since it was read: what is in it would be lost.
        """
        path = Path(path)
        with files.lock(path):
            now = files.state(path)
            if now and self._read_from != (path.resolve(), now):
                raise ValueError(
                    f"{path} holds another gallery, or has changed since it was read: load it, or name another folder"
                )
            network = self.embedder.fingerprint
            content = files.Content(self._people, self._embeddings, network, self.rate, self.calibration)
            files.write(path, content, self.embedder)
            self._read_from = path.resolve(), files.state(path)

    @classmethod
    def load(cls, path: str | Path, model: Embedder | nn.Module | str | Path | None = None) -> "Gallery":
        """Reads a gallery that `save` wrote. Nothing in it is run.

        Args:
            path: its folder.
            model: the network that made it; by default the one beside it. A gallery of an ONNX network has none. Where
                its file holds a calibration, this takes the place of the gallery's.

        Raises:
            FileNotFoundError: there is no gallery.
            ValueError: it is damaged, or another network made it.
        """
        path, state, named = Path(path), files.state(Path(path)), model is not None
        content = files.read(path)
        if isinstance(model, nn.Module):
            model = Embedder(model)
        elif not isinstance(model, Embedder):
            model = load_embedder(model or files.network_of(path))
        if model.fingerprint != content.network:
            raise ValueError(
                f"{path} was made by another network (its weights' hash is {content.network[:8]}…, not "
                f"{model.fingerprint[:8]}…): embeddings of two networks cannot be compared; name that one "
                "(`--network`), or enrol the people anew"
            )
        if content.embeddings.shape[1] != model.dim:
            raise ValueError(f"{path}: embeddings {content.embeddings.shape}, expected (n, {model.dim}): it is damaged")
        newer = model.calibration if named else None
        gallery = cls(model, rate=content.rate, calibration=newer or content.calibration)
        gallery._people, gallery._embeddings = content.people, content.embeddings
        gallery._read_from = path.resolve(), state
        return gallery

    def _rows(self) -> Iterator[tuple[str, str]]:
        """(person, photo) of each row of the embeddings."""
        return ((name, photo) for name, photos in self._people.items() for photo in photos)


def _pictures_of(source: str | Path, person: str):
    """An archive of one person's photos, and their names and bytes."""
    tidy(person)
    archive = open_archive(source)

    def pictures() -> Iterator[tuple[str, bytes]]:
        with archive.reader() as read:
            for entry in archive.entries():
                try:
                    yield entry.name, read(entry)
                except PictureError as error:
                    archive.skipped[str(error)] += 1

    return archive, pictures()
