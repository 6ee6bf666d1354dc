"""What was left out of one's own photos, and why; photos in which a mask is worn already."""

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY

from maskfr_utils import figures, left_out, masks, prepare, rendered, train
from maskfr_utils.masks import worn
from maskfr_utils.store import LEFT_OUT, TEST, WORN, FaceStore

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two people with eight pictures each, one of them twice and one broken; of two pictures a mask is worn."""
    root, faces = tmp_path_factory.mktemp("own") / "people", rendered.render_faces(3, 10, seed=21, difficulty=0.9)
    wearing = masks.mask_faces(faces.images, faces.landmarks, style="surgical", seed=5).images
    for k, (image, masked, label) in enumerate(zip(faces.images, wearing, faces.labels, strict=True)):
        path = root / f"{['ann', 'bob', 'eve'][label]}/{k % 10:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if label == 2 and k % 10 > 2:
            continue
        Image.fromarray(masked if k % 10 > 7 else image).save(path)
    Image.fromarray(faces.images[0]).save(root / "ann/zz again.png")
    (root / "bob/broken.jpg").write_bytes(b"x")
    return root


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """By the name of what is drawn, since the network's errors are not this test's: masks drawn in `surgical` blue."""

    def blue(faces):
        return np.array([(face[70:100, 40:72].mean((0, 1)) @ [-1, 0, 1]) > 0 for face in faces])

    monkeypatch.setattr(worn, "wears_mask", blue)


def prepared(photos, out, **more):
    return FaceStore(prepare.prepare(photos, out=out, progress=False, min_masked=4, worn_masks=True, **more))


def test_table_and_pictures_tell_what_and_why(photos, tmp_path):
    store = prepared(photos, tmp_path / "x.h5")
    table = left_out.table(store)
    by_reason = left_out.places_by_reason(store)
    assert sum(map(len, by_reason.values())) == (store.split == LEFT_OUT).sum()
    assert table.loc["identity below 4 pictures", "pictures"] == 3
    assert "ann/zz again.png" in [store.sources[place] for place in by_reason[left_out.COPY]]
    assert "bob/broken.jpg" in table["such as"].to_list()
    assert table.loc[left_out.MASKED, "pictures"] == len(by_reason[left_out.MASKED])
    faces = left_out.faces(store, most=2)
    assert all(image.shape[1:] == (112, 112, 3) and 1 <= len(image) <= 2 for image in faces.values())


def test_a_worn_mask_is_not_drawn_over_and_scored_on_its_own(photos, tmp_path):
    store = prepared(photos, tmp_path / "x.h5")
    places = left_out.places_by_reason(store)[left_out.MASKED]
    assert len(places) and set(np.array(store.mask_kinds)[places]) == {WORN}
    np.testing.assert_array_equal(store.batch(places)[0], store.batch(places, masked=True)[0])
    known = (store.labels[places] >= 0).sum()
    run = TINY | {"dataset": str(tmp_path / "x.h5"), "min_masked": 4, "worn_masks": True, "epochs": 1}
    del run["identities"], run["per_identity"], run["test_fraction"]
    record = train.run(train.TrainConfig(**run, out_dir=str(tmp_path / "run")))
    assert record["metrics"]["worn"]["photos"] == known


def test_without_being_asked_nothing_is_taken_for_a_worn_mask(photos, tmp_path):
    path = prepare.prepare(photos, out=tmp_path / "y.h5", progress=False, min_masked=4)
    assert WORN not in FaceStore(path).mask_kinds
    assert left_out.MASKED not in left_out.table(FaceStore(path)).index


def test_one_person_alone_is_refused_before_training(photos, tmp_path, capsys):
    one = tmp_path / "one" / "ann"
    one.mkdir(parents=True)
    for path in sorted((photos / "ann").iterdir())[:8]:
        (one / path.name).write_bytes(path.read_bytes())
    values = TINY | {"dataset": tmp_path / "one", "out_dir": tmp_path / "run", "min_masked": 4}
    assert train.main([x for k, v in values.items() for x in ("-p", k, str(v))]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "one person only (ann)" in said and "two people or more" in said and len(said) < 340
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_near_duplicates_of_ones_own_are_kept(photos, tmp_path):
    store = prepared(photos, tmp_path / "z.h5", keep_copies=True)
    names = list(store.sources)
    one, again = names.index("ann/00.png"), names.index("ann/zz again.png")
    assert store.split[one] == store.split[again] != LEFT_OUT


def test_who_was_taken_for_whom_is_shown(photos, tmp_path):
    store = prepared(photos, tmp_path / "m.h5")
    places = store.indices(TEST)
    right = store.labels[places]
    assert figures.faces.mistakes(store, places, right) is None
    drawn = figures.faces.mistakes(store, places, 1 - right)
    assert len(drawn.axes) == 2 * len(places)
    np.testing.assert_array_equal(drawn.axes[0].images[0].get_array(), store.batch(places[:1], masked=True)[0][0])
