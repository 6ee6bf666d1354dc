"""The study's rendered faces wear the same masks on every processor: those of its records."""

import json
import zlib

import numpy as np
import pytest

from maskfr_utils import masks, paths, prepare, rendered
from maskfr_utils.faces.pose import head_yaw
from maskfr_utils.rendered.checksums import checksum, kept
from maskfr_utils.store import TEST, FaceStore


@pytest.mark.parametrize("seed", range(len(kept())))
def test_masks_are_those_of_the_records(seed):
    """The oracle is what the records' machine drew: the mask of every test photo of a few people."""
    photos = json.loads((paths.results_dir() / f"demo-iresnet50-masked-s{seed}.json").read_text())["photos"]
    for person in (seed, 39 - seed):
        faces = rendered.render_faces(1, 40, seed=seed, first=person)
        drawn = masks.mask_faces(faces.images, faces.landmarks, seed=seed, checksums=faces.checksums).kinds
        ours = list(zip(head_yaw(faces.landmarks).round().astype(int).tolist(), drawn.tolist(), strict=True))
        theirs = [
            one[1:]
            for one in zip(*(photos[name] for name in ("label", "yaw", "mask")), strict=True)
            if one[0] == person
        ]
        assert len(theirs) == 12 and in_order(theirs, ours), (person, theirs, ours)


def in_order(some, among):
    """Whether all of some are found among others, in their order."""
    rest = iter(among)
    return all(x in rest for x in some)


def test_a_prepared_set_wears_them(tmp_path):
    given = {"identities": 3, "per_identity": 8, "difficulty": 0.5, "seed": 1}
    path = prepare.prepare("demo", **given, out=tmp_path / "x.h5", progress=False)
    store, faces = FaceStore(path), rendered.render_faces(3, 8, seed=1)
    expected = masks.mask_faces(faces.images, faces.landmarks, seed=1, checksums=kept()[1, :3, :8].ravel())
    assert store.mask_kinds.tolist() == expected.kinds.tolist()
    np.testing.assert_array_equal(
        store.batch(store.indices(TEST), masked=True)[0], expected.images[store.indices(TEST)]
    )


def test_a_last_bit_changes_no_mask():
    faces = rendered.render_faces(1, 6, seed=2)
    other = faces.images.copy()
    other[:, 0, 0, 0] ^= 1
    same = [masks.mask_faces(x, faces.landmarks, checksums=faces.checksums) for x in (faces.images, other)]
    assert same[0].kinds.tolist() == same[1].kinds.tolist()
    np.testing.assert_array_equal(same[0].coverage, same[1].coverage)
    by_bytes = [masks.mask_faces(x, faces.landmarks).coverage for x in (faces.images, other)]
    assert (by_bytes[0] != by_bytes[1]).any()


def test_most_are_those_of_this_machine_too():
    faces = rendered.render_faces(1, 40, seed=0, first=7)
    here = np.array([zlib.crc32(image) for image in faces.images])
    assert (here == kept()[0, 7]).mean() > 0.5


@pytest.mark.parametrize("other", [{"seed": 5}, {"difficulty": 0.4}, {"person": 40}, {"picture": 40}])
def test_other_faces_go_by_their_bytes(other):
    image = np.arange(112 * 112 * 3, dtype=np.uint32).astype(np.uint8).reshape(112, 112, 3)
    study = {"seed": 4, "difficulty": 0.5, "person": 39, "picture": 39}
    assert checksum(image, **study) == kept()[4, 39, 39] != zlib.crc32(image)
    assert checksum(image, **study | other) == zlib.crc32(image)


def test_one_a_face():
    faces = rendered.render_faces(1, 2, seed=1)
    with pytest.raises(ValueError, match="2 checksums, one a face, got 3"):
        masks.mask_faces(faces.images, faces.landmarks, checksums=np.zeros(3, np.uint32))
