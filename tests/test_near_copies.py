"""Copies among real photos: counted from what is known of a set, and found by cleaning."""

import gzip
import json

import numpy as np
import pytest

from maskfr_utils import splits
from maskfr_utils.measure import near_copies
from maskfr_utils.rendered import render_faces


def test_counts_are_those_of_the_lists(tmp_path):
    index = "identity,file,core,label_suspect\na,a/0.jpg,1,0\na,a/1.jpg,1,1\nb,b/0.jpg,0,1\n"
    (tmp_path / "index.csv").write_text(index)
    reasons = ["fail", "dup_exact:x", "dup_near:a/0.jpg", "dup_near:b/0.jpg", "dup_cross_identity:y"]
    with gzip.open(tmp_path / "excluded.csv.gz", "wt") as file:
        file.write("\n".join(["identity,source_path,reason", *(f"a,p{i},{r}" for i, r in enumerate(reasons))]))
    assert near_copies.counts(tmp_path) == {
        "identities": 2, "pictures": 8, "byte_copies": 1, "no_face_found": 1, "near_duplicates_in_an_identity": 2,
        "under_two_names": 1, "aligned": 6, "kept": 3, "labels_checked": 2, "labels_suspect": 1,
    }  # fmt: skip
    with gzip.open(tmp_path / "excluded.csv.gz", "wt") as file:
        file.write("identity,source_path,reason\na,p,eaten")
    with pytest.raises(ValueError, match=r"excluded\.csv\.gz: unknown reasons eaten"):
        near_copies.counts(tmp_path)


def test_cleaning_counts_known_and_other_copies():
    faces = render_faces(2, 3, seed=1, difficulty=1.0).images
    clean = {"b": faces[:3], "a": np.concatenate([faces[3:5], faces[3:4] // 2])}  # the last repeats the first
    found = near_copies.cleaning(clean, {"a": faces[4:5, :, ::-1]})
    assert (found["pictures"], found["known"]) == (6, 1)
    assert found["pictures_per_identity"] == [2, 3]
    for way in near_copies.WAYS:
        assert (found[way]["found"], found[way]["others"]) == (1, 1)
    assert near_copies.WAYS["middle"][0] == splits.FACE_PART


def test_what_was_cut_off_tells_the_ways_apart():
    faces = render_faces(2, 3, seed=1, difficulty=1.0).images
    framed = np.zeros_like(faces[:1])
    framed[:, 12:100, 12:100] = faces[:1, 12:100, 12:100]  # the same face in another frame
    found = near_copies.cleaning({"a": faces[:3]}, {"a": framed})
    assert found["middle"]["found"] == 1 and found["whole"]["found"] == 0


def test_the_record_is_committed():
    record = json.loads(near_copies.RECORD.read_text())
    assert len(record["cleaning"]["pictures_per_identity"]) == record["identities"] and "provenance" in record
