"""The field's packed sets, on files that the tests write byte by byte."""

import io
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskfr_utils import prepare, rendered, store
from maskfr_utils.faces import recordio, sources, verification

MAGIC = 0xCED7230A


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def record(payload: bytes) -> bytes:
    """As dmlc-core's writer does it: parted wherever the magic number lies at a multiple of four."""
    magic = struct.pack("<I", MAGIC)
    parts, start = [], 0
    for place in range(0, len(payload) - 3, 4):
        if payload[place : place + 4] == magic and place >= start:
            parts.append(payload[start:place])
            start = place + 4
    parts.append(payload[start:])
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        magic + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def picture(label: float, data: bytes, number: int = 1, labels: tuple[float, ...] = ()) -> bytes:
    return struct.pack("<IfQQ", len(labels), label, number, 0) + struct.pack(f"<{len(labels)}f", *labels) + data


def write_set(path, pictures: list[tuple[int, bytes]]):
    """Record 0, the pictures, then one record an identity, as MS1M has them."""
    people = sorted({label for label, _ in pictures})
    first = len(pictures) + 1
    payloads = [picture(0, b"", 0, (first, first + len(people)))]
    payloads += [picture(label, data, number) for number, (label, data) in enumerate(pictures, 1)]
    for person in people:
        places = [number for number, (label, _) in enumerate(pictures, 1) if label == person]
        payloads.append(picture(0, b"", first + person, (min(places), max(places) + 1)))
    path.write_bytes(b"".join(record(payload) for payload in payloads))
    return path


@settings(max_examples=50, deadline=None)
@given(
    payloads=st.lists(
        st.lists(st.one_of(st.binary(max_size=9), st.just(struct.pack("<I", MAGIC))), max_size=6).map(b"".join),
        max_size=6,
    )
)
def test_records_of_any_bytes(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("rec") / "x.rec"
    path.write_bytes(b"".join(record(payload) for payload in payloads))
    assert list(recordio.read_records(path)) == payloads


def test_set_as_ms1m_is_packed(tmp_path):
    faces = rendered.render_faces(3, 4, seed=2)
    pictures = [(int(label), png(image)) for image, label in zip(faces.images, faces.labels, strict=True)]
    write_set(tmp_path / "train.rec", pictures)
    (tmp_path / "property").write_text("3,112,112")
    for path in (tmp_path, tmp_path / "train.rec"):
        found = list(sources.open_source(path))
        np.testing.assert_array_equal(np.stack([face.image for face in found]), faces.images)
        assert [int(face.identity) for face in found] == faces.labels.tolist()
        assert len({face.name for face in found}) == 12
    path = prepare.prepare(tmp_path, min_masked=3, out=tmp_path / "x.h5", progress=False)
    assert store.FaceStore(path).identities == ["0000000", "0000001", "0000002"]


def test_several_labels(tmp_path):
    path = tmp_path / "x.rec"
    path.write_bytes(record(picture(99, b"data", 1, (7, 3))))
    assert list(recordio.read_pictures(path)) == [(0, 7, b"data")]


def test_broken_pictures_are_counted(tmp_path):
    good = png(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8))
    source = sources.open_source(write_set(tmp_path / "x.rec", [(0, good), (0, b"junk"), (1, good[:900]), (1, good)]))
    assert [face.identity for face in source] == ["0000000", "0000001"]
    assert source.skipped == {"unreadable": 1, "truncated": 1}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_record_too_long_for_a_picture_takes_no_memory(tmp_path, monkeypatch, parts):
    """The file has holes: it promises much more than it takes."""
    monkeypatch.setattr(recordio, "_KEPT", 10**5)
    kinds, long = ([0], [1, 2, 3])[parts > 1], 10**7
    with (tmp_path / "x.rec").open("wb") as file:
        for kind in kinds:
            file.write(recordio.MAGIC + ((kind << 29) + long).to_bytes(4, "little"))
            file.seek(long, 1)
        file.write(recordio.MAGIC + (4).to_bytes(4, "little") + b"next")
    found = list(recordio.read_records(tmp_path / "x.rec"))
    assert 10**5 <= len(found[0]) <= 2 * 10**5 + 4 and found[1:] == [b"next"]
    with (tmp_path / "x.rec").open("r+b") as file:
        file.truncate(10**6)
    with pytest.raises(recordio.BrokenRecordError, match="ends within"):
        list(recordio.read_records(tmp_path / "x.rec"))


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_cut_file_keeps_what_came_before(tmp_path_factory, share):
    good = png(np.zeros((112, 112, 3), np.uint8))
    path = write_set(tmp_path_factory.mktemp("rec") / "x.rec", [(0, good), (0, good), (1, good)])
    whole = path.read_bytes()
    ends = np.cumsum([len(record(payload)) for payload in recordio.read_records(path)])
    size = int(share * len(whole))
    path.write_bytes(whole[:size])
    complete = sum(end <= size for end in ends[1:4])
    if 0 < size < ends[0]:
        with pytest.raises(ValueError, match=r"x\.rec"):
            sources.open_source(path)
        return
    source = sources.open_source(path)
    padding = 4  # a record without its last padding is whole
    assert complete <= len(list(source)) <= sum(end - padding < size for end in ends[1:4])
    assert source.skipped.total() <= 1


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.rec"
    path.write_bytes(b"hello, this is text")
    with pytest.raises(ValueError, match=r"x\.rec is no RecordIO file.* at byte 0"):
        sources.open_source(path)
    path.write_bytes(record(picture(0, b"x")) + record(b"short"))
    with pytest.raises(ValueError, match="record 1 is too short"):
        list(recordio.read_pictures(path))
    path.write_bytes(record(picture(0.5, b"x")))
    with pytest.raises(ValueError, match=r"label 0\.5"):
        list(recordio.read_pictures(path))
    for kind, message in ((2, "lacks its first part"), (1, "lacks its last part")):
        path.write_bytes(struct.pack("<II", MAGIC, kind << 29 | 4) + b"abcd")
        with pytest.raises(ValueError, match=message):
            list(recordio.read_records(path))


# Verification sets

FACES = np.random.default_rng(1).integers(0, 256, (6, 112, 112, 3), np.uint8)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_verification_set(tmp_path, protocol):
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([png(face) for face in FACES], [True, False, True]), protocol=protocol))
    pairs = verification.read_verification_bin(path)
    np.testing.assert_array_equal(pairs.images, FACES.reshape(3, 2, 112, 112, 3))
    assert pairs.same.tolist() == [True, False, True]
    assert not pairs.skipped


def test_verification_set_of_python_2(tmp_path):
    # Protocol 2 of Python 2 has byte strings: opcode U (short) or T, here T with a length of four bytes.
    def string(data: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(data)) + data

    pictures = b"".join(string(png(face)) for face in FACES[:2])
    path = tmp_path / "lfw.bin"
    path.write_bytes(b"\x80\x02](" + pictures + b"e](\x88e\x86.")
    np.testing.assert_array_equal(verification.read_verification_bin(path).images[0], FACES[:2])


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickle_runs_nothing(tmp_path):
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([png(FACES[0]), Attack(tmp_path / "hit")], [True])))
    with pytest.raises(ValueError, match=r"lfw\.bin is no verification set.*io\.open"):
        verification.read_verification_bin(path)
    assert not (tmp_path / "hit").exists()
    pickle.loads(path.read_bytes())  # an ordinary unpickler would have
    assert (tmp_path / "hit").exists()


def test_pair_with_a_broken_picture_is_left_out(tmp_path):
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([png(FACES[0]), b"junk", png(FACES[1]), png(FACES[2])], [True, False])))
    pairs = verification.read_verification_bin(path)
    assert pairs.same.tolist() == [False]
    np.testing.assert_array_equal(pairs.images[0], FACES[1:3])
    assert pairs.skipped == {"unreadable": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        pickle.dumps(5),
        pickle.dumps(([1], [True])),
        pickle.dumps(([b"x"] * 3, [True])),
        pickle.dumps(({}, 1)),
        pickle.dumps(({b"a"}, [True])),
        pickle.dumps(({b"a": 1, b"b": 2}, [True])),
        pickle.dumps(([b"x" * 3000] * 4000, [True] * 2000)),  # one picture, over and over: 150 MB of faces
        b"\x80\x02]r\xff\xff\xff\x7f.",  # remembered as number 2^31: takes 32 GB in Python's own reader
        b"\x80\x02]p99999999999\n.",
    ],
)
def test_other_pickles_are_refused(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.bin"):
        verification.read_verification_bin(tmp_path / "x.bin")
    with pytest.raises(FileNotFoundError):
        verification.read_verification_bin(tmp_path / "y.bin")


# Writing


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=9), st.just(struct.pack("<I", MAGIC))), max_size=6).map(b"".join))
def test_a_record_is_written_as_by_dmlc(payload):
    assert recordio.pack_record(payload) == record(payload)


def test_set_is_written_as_ms1m_is_packed(tmp_path):
    data = [(label, b"picture %d" % number) for number, label in enumerate((0, 0, 1, 2, 2, 2))]
    written = recordio.write_set(tmp_path / "new", [(f"p{label}", f"p{label}/{d!r}", d) for label, d in data])
    assert written == (6, 3)
    whole = (tmp_path / "new/train.rec").read_bytes()
    assert whole == write_set(tmp_path / "x.rec", data).read_bytes()
    assert (tmp_path / "new/property").read_text() == "3,112,112"
    places = [line.split("\t") for line in (tmp_path / "new/train.idx").read_text().splitlines()]
    ends = np.cumsum([0, *(len(record(payload)) for payload in recordio.read_records(tmp_path / "x.rec"))])
    assert [(int(number), int(place)) for number, place in places] == list(enumerate(ends[:-1]))
    listing = (tmp_path / "new/train.lst").read_text().splitlines()
    assert listing[3] == "4\t2\tp2/b'picture 3'" and len(listing) == 6
    assert [(label, d) for _, label, d in recordio.read_pictures(tmp_path / "new/train.rec")] == data


def test_written_set_with_several_labels_and_parted_records(tmp_path):
    data = struct.pack("<I", MAGIC) * 2 + b"x" + struct.pack("<I", MAGIC)
    recordio.write_set(tmp_path, [("a", "1", data), ("b", "2", b"y")], labels=(7.0, 9.0))
    assert [(label, d) for _, label, d in recordio.read_pictures(tmp_path / "train.rec")] == [(0, data), (1, b"y")]
    payload = list(recordio.read_records(tmp_path / "train.rec"))[2]
    assert struct.unpack_from("<IfQQ3f", payload) == (3, 0, 2, 0, 1, 7, 9)


def test_a_set_that_cannot_be_written_leaves_the_old_one(tmp_path):
    recordio.write_set(tmp_path, [("a", "1", b"x")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="'a' do not lie together"):
        recordio.write_set(tmp_path, [("a", "1", b"x"), ("b", "2", b"x"), ("a", "3", b"x")])
    with pytest.raises(ValueError, match="no picture"):
        recordio.write_set(tmp_path, [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_verification_set_round_trip(tmp_path):
    pictures = [png(face) for face in FACES]
    verification.write_verification_bin(tmp_path / "x.bin", pictures, [True, False, True])
    assert pickle.loads((tmp_path / "x.bin").read_bytes()) == (pictures, [True, False, True])
    pairs = verification.read_verification_bin(tmp_path / "x.bin")
    np.testing.assert_array_equal(pairs.images, FACES.reshape(3, 2, 112, 112, 3))
    with pytest.raises(ValueError, match="5 pictures for 3 pairs"):
        verification.write_verification_bin(tmp_path / "x.bin", pictures[:5], [True, False, True])


@pytest.fixture
def lfw(tmp_path):
    for name, number, face in (("Ann_B", 1, 0), ("Ann_B", 2, 1), ("Bo", 1, 2)):
        path = tmp_path / name / f"{name}_{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(FACES[face]))
    return tmp_path


def test_lfw_pairs(lfw):
    (lfw / "pairs.txt").write_text("10\t300\nAnn_B\t1\t2\nAnn_B\t2\tBo\t1\n")
    pictures, same = verification.read_lfw_pairs(lfw)
    assert same == [True, False] and pictures == [png(FACES[i]) for i in (0, 1, 1, 2)]
    pairs = verification.decode_pairs(pictures, same)
    np.testing.assert_array_equal(pairs.images[1], FACES[[1, 2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10\t300\nAnn_B\t1\n", "line 2 is no pair"),
        ("Ann_B\t1\t9\n", "no picture Ann_B_0009"),
        ("../x\t1\t2\n", "no name of a person's folder"),
        ("\n\n", "holds no pair"),
        ("10\n" + "a" * 5000, "line 2 is no pair"),
        ("a" * 5000 + "\t1\t2\n", "no picture a+"),
    ],
)
def test_odd_pairs_are_refused(lfw, text, said):
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=said) as caught:
        verification.read_lfw_pairs(lfw)
    assert len(str(caught.value)) < 300 + len(str(lfw))
