"""Who is on a picture by where it lies: folders above people, groups of people, names in several spellings."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskfr_utils.faces.archives import Entry
from maskfr_utils.faces.layout import arrange


def arranged(*names: str):
    return arrange(Entry(name, 1, name) for name in names)


def people(layout) -> dict[str, int]:
    names = [entry.name.split("/")[0] for entry in layout.entries]
    return {name: names.count(name) for name in names}


def test_plain_folders_keep_their_names():
    names = ["ann/1.jpg", "ann/2.jpg", "Bob /1.jpg"]
    layout = arranged(*names)
    assert [entry.name for entry in layout.entries] == names and not layout.found_as
    assert not layout.skipped and not layout.notes


def test_folders_above_are_left_out_and_what_lies_elsewhere_is_counted():
    layout = arranged(
        "set/all/ann/1.jpg", "set/all/bob/1.jpg", "set/all/bob/2.jpg", "set/cover.jpg", "set/all/bob/more/3.jpg"
    )
    assert [entry.name for entry in layout.entries] == ["ann/1.jpg", "bob/1.jpg", "bob/2.jpg"]
    assert [entry.place for entry in layout.entries] == ["set/all/ann/1.jpg", "set/all/bob/1.jpg", "set/all/bob/2.jpg"]
    assert layout.skipped == {"not at <identity>/<picture>": 2}


def test_groups_of_people_are_taken_together_and_named():
    layout = arranged("set/men/bob/1.jpg", "set/men/bob/2.jpg", "set/women/ann/1.jpg", "set/women/eve/1.jpg")
    assert people(layout) == {"bob": 2, "ann": 1, "eve": 1}
    assert not layout.skipped
    assert layout.notes == ["2 groups of people, taken together: men, women"]
    assert layout.found_as["ann/women/1.jpg"] == "set/women/ann/1.jpg"
    (told,) = arranged("a\x1b[2J/ann/1.jpg", "a\x1b[2J/ann/2.jpg", "b/bob/1.jpg", "b/eve/1.jpg").notes
    assert told.isprintable()


def test_training_and_test_folders_share_their_people():
    layout = arranged("Train/ann/1.jpg", "Train/bob/1.jpg", "val/ann/1.jpg", "test/ann/1.jpg", "test/bob/1.jpg")
    assert people(layout) == {"ann": 3, "bob": 2}
    assert len({entry.name for entry in layout.entries}) == 5


def test_a_person_in_two_groups_of_other_names_is_refused():
    with pytest.raises(ValueError, match="'ann' and 'bob' both hold a folder '2019'") as error:
        arranged("ann/2019/1.jpg", "ann/2020/1.jpg", "bob/2019/1.jpg")
    assert "<person>/<picture>" in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    "other", ["ZOË", "Zoë ", " Zoë", unicodedata.normalize("NFD", "Zoë")], ids=["case", "trailing", "leading", "NFD"]
)
def test_spellings_of_one_name_are_one_person(other):
    layout = arranged("Zoë/1.jpg", "Zoë/2.jpg", f"{other}/1.jpg", "ann/1.jpg")
    assert people(layout) == {"Zoë": 3, "ann": 1}
    assert len({entry.name for entry in layout.entries}) == 4
    assert layout.notes == [f"{other!r} taken as another spelling of 'Zoë'"]


def test_other_names_stay_other_people():
    assert len(people(arranged("ann/1.jpg", "anna/1.jpg", "an n/1.jpg", "Zoe/1.jpg", "Zoë/1.jpg"))) == 5


@given(st.lists(st.lists(st.sampled_from(["a", "A", "b ", "train", "test"]), min_size=1, max_size=4), max_size=12))
def test_every_picture_is_named_once_or_counted(folders):
    names = sorted({"/".join(parts) + f"/{i}.jpg" for i, parts in enumerate(folders)})
    try:
        layout = arranged(*names)
    except ValueError as error:
        assert "both hold a folder" in str(error)
    else:
        assert len({entry.name for entry in layout.entries}) + sum(layout.skipped.values()) == len(names)
        assert set(layout.found_as) <= {entry.name for entry in layout.entries}
