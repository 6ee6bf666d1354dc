"""Cleaning and splitting: no test photo, no copy of one, under whatever disguise, is trained on."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskfr_utils import paths, splits
from maskfr_utils.faces import sources
from maskfr_utils.store import LEFT_OUT, TEST, TRAIN, VALIDATION


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Pictures as different as photos of different moments: smooth random fields with some detail."""
    rng = np.random.default_rng(seed)
    fields = [cv2.resize(rng.normal(0, 1, (n, n, 3)), (112, 112), interpolation=cv2.INTER_CUBIC) for n in [9] * count]
    detail = rng.normal(0, 0.1, (count, 112, 112, 3))
    return np.clip(128 + 50 * (np.array(fields) + detail), 0, 255).astype(np.uint8)


def jpeg(photo: np.ndarray, quality: int = 40) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def shifted(photo: np.ndarray) -> np.ndarray:
    """Aligned anew: a pixel off, a degree turned, a little larger, with a black border."""
    matrix = cv2.getRotationMatrix2D((56, 56), 1, 1.02) + np.array([[0, 0, 0.7], [0, 0, -0.5]])
    moved = cv2.warpAffine(photo, matrix, (112, 112))
    moved[:, :10] = 0
    return moved


DISGUISES = {
    "same": lambda photo: photo.copy(),
    "mirrored": lambda photo: photo[:, ::-1],
    "recompressed": jpeg,
    "brighter": lambda photo: (photo * 0.6 + 90).astype(np.uint8),
    "darker": lambda photo: (photo * 0.4).astype(np.uint8),
    "grey": lambda photo: np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], 3, 2),
    "tinted": lambda photo: (photo * [1.0, 0.8, 0.6]).astype(np.uint8),
    "smaller": lambda photo: cv2.resize(cv2.resize(photo, (56, 56), interpolation=cv2.INTER_AREA), (112, 112)),
    "realigned": shifted,
    "all of it": lambda photo: jpeg(shifted((photo * [0.9, 0.7, 0.8] + 20).astype(np.uint8))[:, ::-1].copy()),
}


def split(images: np.ndarray, people, usable=None, names=None, **parameters) -> splits.Splits:
    names = [f"{person}/{i:04d}.jpg" for i, person in enumerate(people)] if names is None else names
    return splits.make_splits(
        people,
        names,
        np.ones(len(images), bool) if usable is None else usable,
        [splits.picture_hash(image) for image in images],
        lambda indices: images[indices],
        **parameters,
    )


@pytest.mark.parametrize("disguise", DISGUISES)
def test_near_duplicates_are_found(disguise):
    originals = photos(20)
    copies = np.array([DISGUISES[disguise](photo) for photo in originals])
    repeats = splits.near_duplicates(np.concatenate([originals, copies]))
    np.testing.assert_array_equal(repeats, [-1] * 20 + list(range(20)))


def test_near_duplicates_across_blocks(monkeypatch):
    # The result does not depend on how many are compared at a time.
    images = photos(40)
    images = np.concatenate([images, images[::3, :, ::-1], images[::2]])
    expected = splits.near_duplicates(images)
    assert (expected >= 0).sum() == 14 + 20
    monkeypatch.setattr(splits, "_BLOCK", 7)
    np.testing.assert_array_equal(splits.near_duplicates(images), expected)
    assert splits.near_duplicates(images[:0]).shape == (0,)


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.0), st.floats(0, 60))
@settings(max_examples=20, deadline=None)
def test_thumbnails_see_neither_contrast_nor_brightness(seed, contrast, brightness):
    photo = photos(1, seed)
    other = np.clip(photo * contrast + brightness, 0, 255).astype(np.uint8)
    a, b = splits.thumbnails(np.concatenate([photo, other]))
    assert a @ a == pytest.approx(1, abs=1e-5)
    assert abs(a.mean()) < 1e-6
    assert a @ b > 0.97


def test_flat_pictures_are_no_error():
    flat = np.full((3, 112, 112, 3), 7, np.uint8)
    assert np.isfinite(splits.thumbnails(flat)).all()
    assert (splits.near_duplicates(flat) == -1).all()


def test_hash_is_blind_to_mirroring_only():
    photo, other = photos(2)
    assert splits.picture_hash(photo) == splits.picture_hash(photo[:, ::-1])
    assert splits.picture_hash(photo) != splits.picture_hash(other)
    assert splits.picture_hash(photo) != splits.picture_hash(photo[::-1])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_no_test_photo_nor_copy_of_one_is_trained_on(seed):
    rng = np.random.default_rng(seed)
    originals = photos(60, seed=rng.integers(1000))
    owners = np.repeat(np.arange(4), 15)
    chosen = rng.integers(0, 60, 40)
    disguises = [rng.choice(list(DISGUISES)) for _ in chosen]
    copies = [DISGUISES[disguise](originals[i]) for i, disguise in zip(chosen, disguises, strict=True)]
    images = np.concatenate([originals, np.array(copies)])
    photo = np.concatenate([np.arange(60), chosen])  # which photo each picture shows
    order = rng.permutation(100)
    images, photo = images[order], photo[order]
    usable = rng.random(100) > 0.05
    result = split(images, [f"p{owners[i]}" for i in photo], usable, min_pictures=3, test_fraction=0.3, seed=seed)
    test, train = set(photo[result.split == TEST]), set(photo[result.split == TRAIN])
    assert test
    assert train
    assert not test & train
    used = photo[result.split != LEFT_OUT]
    assert len(used) == len(set(used))
    assert usable[result.split != LEFT_OUT].all()
    # What repeats something says what, and that is a kept picture of the same photo.
    repeating = result.duplicate_of >= 0
    np.testing.assert_array_equal(photo[repeating], photo[result.duplicate_of[repeating]])
    assert (result.split[repeating] == LEFT_OUT).all()
    assert (result.split[result.duplicate_of[repeating]] != LEFT_OUT).all()


def test_one_photo_under_two_names_is_left_out_under_both():
    images = photos(20)
    images = np.concatenate([images, images[[3]], images[[4], :, ::-1]])
    people = ["a"] * 10 + ["b"] * 10 + ["b", "b"]
    result = split(images, people)
    assert np.flatnonzero(result.split == LEFT_OUT).tolist() == [3, 4, 20, 21]
    assert result.dropped["one photo under two names"] == 4


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 10),
    at_least=st.integers(2, 20),
)
@settings(max_examples=25, deadline=None)
def test_each_identity_is_split_by_the_fraction(sizes, fraction, seed, at_least):
    images, people = photos(sum(sizes)), np.repeat([f"p{i}" for i in range(len(sizes))], sizes)
    if max(sizes) < at_least:
        with pytest.raises(ValueError, match=f"the largest has {max(sizes)}"):
            split(images, people, min_pictures=at_least, test_fraction=fraction, seed=seed)
        return
    result = split(images, people, min_pictures=at_least, test_fraction=fraction, seed=seed)
    kept = [i for i, size in enumerate(sizes) if size >= at_least]
    assert result.identities == [f"p{i}" for i in kept]
    for label, i in enumerate(kept):
        rows = result.split[result.labels == label]
        assert len(rows) == sizes[i]
        tested = (rows == TEST).sum()
        assert 1 <= tested <= sizes[i] - 1
        assert tested == pytest.approx(np.clip(fraction * sizes[i], 1, sizes[i] - 1), abs=0.51)
    assert (result.split[result.labels < 0] == LEFT_OUT).all()
    assert sum(result.dropped.values()) == (result.split == LEFT_OUT).sum()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=4), st.floats(0, 0.5), st.integers(0, 9))
def test_validation_is_a_share_of_what_is_not_for_testing(sizes, fraction, seed):
    people = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    images = photos(len(people), seed)
    shared = {"min_pictures": 2, "test_fraction": 0.2, "seed": seed, "copies": False}
    without, found = split(images, people, **shared), split(images, people, validation_fraction=fraction, **shared)
    np.testing.assert_array_equal(without.split == TEST, found.split == TEST)  # which photos are tested does not change
    for label, size in enumerate(sizes):
        rest = size - (found.split[found.labels == label] == TEST).sum()
        validation = (found.split[found.labels == label] == VALIDATION).sum()
        assert validation == min(round(fraction * rest), rest - 1)


@pytest.mark.parametrize("seed", range(8))
def test_pictures_that_may_be_copies_lie_in_one_part(seed):
    moments = photos(12, seed)
    rng = np.random.default_rng(seed)
    alike = np.clip(moments[:8] * 0.55 + photos(8, 100 + seed) * 0.45, 0, 255).astype(np.uint8)
    again = [splits.likeness(a[None], b[None])[0, 0] for a, b in zip(moments[:8], alike, strict=True)]
    threshold = float(np.median(again))  # half of them suspects
    images = np.concatenate([moments, alike])[rng.permutation(20)]
    groups = splits._together(splits.thumbnails(images), threshold)
    near = splits.likeness(images, images) > threshold
    assert all(groups[a] == groups[b] for a, b in np.argwhere(near)) and len(np.unique(groups)) < 20
    unit = np.arange(20)
    for group in np.unique(groups):
        unit[groups == group] = np.flatnonzero(groups == group)[0]
    names = np.array([f"{i}.jpg" for i in range(20)], object)
    drawn = splits._drawn(np.arange(20), names, unit, seed)
    for share in (0.05, 0.15, 0.35):
        some, others = splits._cut(drawn, unit, share)
        assert len(some) and len(others) and not set(unit[some]) & set(unit[others])
        np.testing.assert_array_equal(np.concatenate([some, others]), drawn)


@pytest.mark.parametrize("drawn", [[*range(10), 10, 11], [10, *range(10), 11], [10, 11, *range(10)]])
def test_a_large_group_of_copies_leaves_most_photos_to_training(drawn):
    """Ten copies of one moment and two other photos, of which a tenth is to be tested on."""
    unit = np.array([0] * 10 + [10, 11])
    some, others = splits._cut(np.array(drawn), unit, 0.1, 1)
    assert len(some) == 1 and sorted([*some, *others]) == list(range(12))


@pytest.mark.parametrize("disguise", DISGUISES)
def test_one_photo_is_told_from_two_of_the_same_pose(disguise):
    rng = np.random.default_rng(5)
    pose = cv2.resize(rng.normal(0, 50, (7, 7, 3)), (112, 112), interpolation=cv2.INTER_CUBIC)
    details = (cv2.resize(rng.normal(0, 9, (37, 37, 3)), (112, 112), interpolation=cv2.INTER_CUBIC) for _ in range(2))
    one, two = (np.clip(128 + pose + detail, 0, 255).astype(np.uint8) for detail in details)
    assert splits.same_photo(one, np.ascontiguousarray(DISGUISES[disguise](one)))
    assert splits.likeness(one[None], two[None])[0, 0] > splits.SUSPECT and not splits.same_photo(one, two)


@pytest.mark.parametrize("disguise", ["recompressed", "brighter", "tinted", "realigned"])
def test_a_photo_of_two_people_in_disguise_is_left_out_under_both(disguise):
    images, people = photos(12), list("aaaaaabbbbbb")
    images[7] = DISGUISES[disguise](images[2])
    found = split(images, people, min_pictures=3)
    assert np.flatnonzero(found.split == LEFT_OUT).tolist() == [2, 7]
    assert found.dropped["one photo under two names"] == 2
    assert (split(images, people, min_pictures=3, copies=False).split != LEFT_OUT).all()  # rendered: not looked for


def test_same_split_in_any_order_and_another_for_another_seed():
    images, people = photos(60), np.repeat(["a", "b", "c"], 20)
    images[25] = images[31, :, ::-1]
    names = np.array([f"{person}/{i:04d}.jpg" for i, person in enumerate(people)])
    first = split(images, people, names=names)
    order = np.random.default_rng(0).permutation(60)
    second = split(images[order], people[order], names=names[order])
    np.testing.assert_array_equal(first.split[order], second.split)
    np.testing.assert_array_equal(first.labels[order], second.labels)
    assert first.duplicate_of[31] == 25  # the first by name stays
    assert (split(images, people, names=names, seed=1).split != first.split).any()
    np.testing.assert_array_equal(split(images, people, names=names).split, first.split)


def test_error_names_the_number_that_would_do():
    images = photos(12)
    images[11] = images[10]
    with pytest.raises(ValueError, match=r"0 of 2 identities have 80 .* largest has 7: set min_masked to at most 7"):
        split(images, ["a"] * 4 + ["b"] * 8, min_pictures=80)
    split(images, ["a"] * 4 + ["b"] * 8, min_pictures=7)
    with pytest.raises(ValueError, match="give more pictures"):
        split(images[:3], ["a", "b", "c"])


@pytest.mark.parametrize(("at_least", "fraction"), [(1, 0.1), (0, 0.1), (5, 0.0), (5, 1.0), (5, float("nan"))])
def test_parameters_out_of_range(at_least, fraction):
    with pytest.raises(ValueError, match=r"min_masked is|test_fraction is"):
        splits.check_parameters(at_least, fraction)


def test_known_near_duplicates_of_real_photos():
    folder = paths.data_dir()
    if not (folder / "pins_near_duplicates").is_dir():
        pytest.skip(f"needs the real faces pins and pins_near_duplicates in {folder} (set MASKFR_DATA)")
    known, clean = (sources.open_source(folder / f"{name}/{name}_112.tar") for name in ("pins_near_duplicates", "pins"))
    people = sorted({name.split("/")[0] for name, _ in known.pictures()})[::12]
    groups = {person: [] for person in people}
    for name, data in (*clean.pictures(), *known.pictures()):
        if name.split("/")[0] in groups:
            groups[name.split("/")[0]].append(sources.to_face(name, data))
    known = found = 0
    for group in groups.values():
        repeats = splits.near_duplicates(np.stack([face.image for face in group]))
        copies = np.array(["/nd" in face.name for face in group])
        known += copies.sum()
        found += (copies & (repeats >= 0)).sum()
    assert known > 50
    assert found / known > 0.95


def test_kept_copies_of_two_photos_that_are_less_alike_share_their_part():
    """Half of either: a copy of both by its likeness, while they alone would be none of each other."""
    rng = np.random.default_rng(3)
    one, more = (cv2.resize(rng.normal(0, 1, (9, 9)), (112, 112), interpolation=cv2.INTER_CUBIC) for _ in range(2))
    other = 0.87 * one + 0.5 * more
    trio = np.array(
        [
            np.clip(128 + 40 * x, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
            for x in (one, other, (one + other) / 2)
        ]
    )
    alike = splits.likeness(trio, trio)
    assert alike[0, 1] < splits.SUSPECT < splits.CORRELATION < min(alike[0, 2], alike[1, 2])
    images = np.concatenate([trio, photos(9)])
    for seed in range(12):
        found = split(images, ["ann"] * 12, keep_copies=True, test_fraction=0.3, validation_fraction=0.2, seed=seed)
        assert len(set(found.split[:3].tolist())) == 1


def test_a_photo_that_cannot_be_used_has_no_label_under_two_names():
    images = photos(13)
    images[12] = images[0]
    usable = np.ones(13, bool)
    usable[[0, 12]] = False
    found = split(images, ["ann"] * 6 + ["bob"] * 7, usable=usable)
    assert found.labels[[0, 12]].tolist() == [-1, -1] and found.labels[[1, 11]].tolist() == [0, 1]


def test_near_duplicates_are_kept_on_request_in_the_part_of_what_they_repeat():
    originals = photos(24)
    images = np.concatenate([originals, np.array([jpeg(photo) for photo in originals])])
    found = split(images, ["ann"] * len(images), keep_copies=True, test_fraction=0.3, validation_fraction=0.2)
    assert (found.duplicate_of == -1).all() and (found.split != LEFT_OUT).all()
    assert found.dropped["near-duplicate"] == 0
    np.testing.assert_array_equal(found.split[:24], found.split[24:])
    assert {TRAIN, TEST, VALIDATION} == set(found.split.tolist())
