"""Files written whole or not at all, under any name, and what killed writers leave."""

import os
import time

import pytest

from maskfr_utils import paths
from maskfr_utils.paths import remove_temporaries, replacing


@pytest.mark.parametrize("name", ["x.json", "x" * 251 + ".png", "é" * 125 + ".png"])
def test_written_whole(tmp_path, name):
    path = tmp_path / "new" / name
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.suffix == path.suffix
        assert [p.name for p in path.parent.iterdir()] == [name]
        assert path.read_text() == text


def test_readable_as_any_other_file(tmp_path):
    with replacing(tmp_path / "x") as temporary:
        temporary.write_text("")
    (tmp_path / "y").write_text("")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_a_user_who_is_not_here_has_no_data():
    with pytest.raises(FileNotFoundError, match="no data set at ~nobody-of-this-name/x"):
        paths.find_data("~nobody-of-this-name/x")


def test_an_error_leaves_the_older_file(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


def test_what_killed_writers_left_is_removed(tmp_path):
    kept = {"x.png", ".tmp", ".tmp-notes.txt", "another.png"}
    for name in kept:
        (tmp_path / name).write_text("")
    writers = {name: replacing(tmp_path / name) for name in ("x.png", "[x].png", "z.png")}
    temporaries = {name: writer.__enter__() for name, writer in writers.items()}  # and never ended
    for temporary in temporaries.values():
        temporary.write_text("half")
    os.utime(temporaries["z.png"], (time.time() - 2 * 24 * 3600,) * 2)
    remove_temporaries(tmp_path, "[x].png", older_than=0)
    assert not temporaries["[x].png"].exists()
    remove_temporaries(tmp_path)
    assert temporaries["x.png"].exists() and not temporaries["z.png"].exists()
    remove_temporaries(tmp_path, older_than=0)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_of_long_names_with_one_end_another_ones_temporary_stays(tmp_path):
    first, second = (f"part-0{i}_{'x' * 200}.h5" for i in (1, 2))
    with replacing(tmp_path / first) as temporary:
        temporary.write_text("half")
        remove_temporaries(tmp_path, second, older_than=0)
        assert temporary.exists() and temporary.suffix == ".h5" and len(temporary.name) < 60
        remove_temporaries(tmp_path, first, older_than=0)
        assert not temporary.exists()
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [first]
