"""Archives from anywhere: what is safe is read, the rest is counted, and nothing ends in a crash or takes all memory."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from maskfr_utils.faces import archives, sources
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.masks import cloth as mask_cloth

DATA = b"a picture"


def tar(*members: tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: str = "a/2.png", size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header alone, whatever it claims."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def content(archive: archives.Archive) -> dict[str, bytes | str]:
    """Of every entry its bytes, or why they can't be read."""
    found = {}
    with archive.reader() as read:
        for entry in archive.entries():
            try:
                found[entry.name] = read(entry)
            except PictureError as error:
                found[entry.name] = str(error)
    return found


GOOD = tar(("a/1.png", DATA))[:1024]  # without the end
END = bytes(1024)
CUT = {"rest of the tar, which ends abruptly": 1}
LONG = "x" * 3900


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("rest", "more", "skipped"),
    [
        (END, {}, {}),
        (b"", {}, CUT),
        (b"junk" * 256, {}, CUT),
        (header(size=2**60), {"a/2.png": "file above 64 MB"}, CUT),
        (header(size=2**60, kind=tarfile.GNUTYPE_LONGNAME), {}, CUT),
        (header(size=2**60, kind=tarfile.XHDTYPE), {}, CUT),
        (header(size=2**31, kind=tarfile.XGLTYPE), {}, CUT),
        (header(size=-1) + END, {}, {"unsafe tar member": 1}),
        (header(size=-(2**40)) + END, {}, CUT),
        ((header(size=2, kind=tarfile.GNUTYPE_LONGNAME) + b"x".ljust(512, b"\0")) * 2000 + END, {}, CUT),
        (header(size=9, kind=tarfile.XHDTYPE) + b"9 size=x\n".ljust(512, b"\0") + header() + END, None, None),
        (header(size=99, kind=tarfile.XHDTYPE) + b"999999999999 a=b\n".ljust(512, b"\0") + header() + END, None, None),
        (header(kind=tarfile.GNUTYPE_SPARSE) + END, {}, {"unsafe tar member": 1}),
        (tar((f"a/{LONG}.png", DATA)), {f"a/{LONG}.png": DATA}, {}),
        (tar((f"a/{LONG}.png", DATA), form=tarfile.PAX_FORMAT), {f"a/{LONG}.png": DATA}, {}),
        (tar(("a/caf\udce9.png", DATA)), {"a/caf\\udce9.png": DATA}, {}),
        (tar(("a/nul\0.png", DATA), form=tarfile.PAX_FORMAT), None, None),
        (tar(("a/1.png/2.png", DATA), ("a/1.png/2.png/3.png", b"")), {"a/1.png/2.png": DATA, "a/1.png/2.png/3.png": b""}, {}),
        (tar(("a//1.png", b"twice"), ("./a/1.png", b"thrice")), {}, {"name occurs twice": 2}),
        (tar(("", DATA), (".", DATA), ("..", DATA), ("/", DATA), ("a/", DATA)), None, None),
        (tar((".git/1.png", DATA), ("a/.x/1.png", DATA), (".git/x", b""), ("a/._1.png", b""), ("__MACOSX/1.png", b"")),
         {}, {"in a hidden folder": 2}),
    ],
    ids=["whole", "no end", "junk", "huge", "huge name", "huge pax", "2 GB of globals", "size -1", "size -2^40",
         "chained names", "pax size", "pax length", "sparse", "long", "long pax", "latin-1", "NUL", "below a file",
         "twice", "no names", "hidden"],
)  # fmt: skip
def test_odd_tars(tmp_path, compress, rest, more, skipped):
    """The good picture before it is always read; `None`: whatever else comes out, it ends well."""
    (tmp_path / "x.tar").write_bytes(compress(GOOD + rest))
    archive = archives.open_archive(tmp_path / "x.tar")
    found = content(archive)
    assert found.pop("a/1.png") == DATA
    "".join(found).encode()
    if more is not None:
        assert found == more
        assert archive.skipped == Counter(skipped)


def test_a_tar_that_begins_with_nonsense_is_refused(tmp_path):
    for size in (2**60, 2**33):
        (tmp_path / "x.tar").write_bytes(header(size=size, kind=tarfile.GNUTYPE_LONGNAME))
        with pytest.raises(ValueError, match=r"x\.tar is neither a folder nor a tar"):
            list(archives.open_archive(tmp_path / "x.tar").entries())


# Zips


def test_hostile_zip_members_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.zip", "w") as archive:
        for name in ("a/1.png", "../1.png", "/1.png", "a/../../1.png", "a\\1.png", "a/readme.md", "./a/1.png", "a/"):
            archive.writestr(name, DATA if name[-1] != "/" else b"")
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    found = archives.open_archive("x.zip")
    assert content(found) == {"a/1.png": DATA}
    assert found.skipped == Counter({"unsafe zip member": 5, "not a picture, by its name": 1, "name occurs twice": 1})
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


def write_zip(path, data: bytes = DATA) -> bytearray:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", data)
        archive.writestr("a/2.png", DATA)
    return bytearray(path.read_bytes())


def test_zip_members_without_a_name_are_refused(tmp_path):
    data = write_zip(tmp_path / "x.zip")
    for start in (data.index(b"a/1.png"), data.rindex(b"a/1.png")):
        data[start] = 0  # where a name ends
    (tmp_path / "x.zip").write_bytes(data)
    assert [*content(archives.open_archive(tmp_path / "x.zip"))] == ["a/2.png"]


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_members_that_are_unpacked_without_a_limit_are_counted(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", bytes(10**6), kind)
        archive.writestr("a/2.png", DATA, zipfile.ZIP_DEFLATED)
    archive = archives.open_archive(tmp_path / "x.zip")
    assert content(archive) == {"a/2.png": DATA}
    assert archive.skipped == {"zip member neither stored nor deflated": 1}


def test_names_that_no_prepared_file_could_hold_are_counted(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(f"a/{'x' * 5000}.png", DATA)
        archive.writestr("a/2.png", DATA)
    archive = archives.open_archive(tmp_path / "x.zip")
    assert content(archive) == {"a/2.png": DATA} and archive.skipped == {"name too long": 1}


def test_encrypted_zip_members_are_counted(tmp_path):
    data = write_zip(tmp_path / "x.zip")
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag in the list of contents
    (tmp_path / "x.zip").write_bytes(data)
    archive = archives.open_archive(tmp_path / "x.zip")
    assert content(archive) == {"a/2.png": DATA}
    assert archive.skipped == {"encrypted zip member": 1}


def test_damaged_zip_members_have_a_reason(tmp_path):
    data = write_zip(tmp_path / "x.zip", os.urandom(1000))
    data[200] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert content(archives.open_archive(tmp_path / "x.zip")) == {"a/1.png": "unreadable", "a/2.png": DATA}


def test_zip_bomb(tmp_path):
    """Members that claim much are not read; those that lie about it are cut at what they claim."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(80_000_000))
        archive.writestr("a/2.png", bytes(60_000_000))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    place = data.rindex(b"PK\1\2") + 24
    data[place : place + 4] = (9).to_bytes(4, "little")  # the size that the second claims
    (tmp_path / "x.zip").write_bytes(data)
    assert len(data) < 200_000
    found = content(archives.open_archive(tmp_path / "x.zip"))
    assert found["a/1.png"] == "file above 64 MB" and len(found["a/2.png"]) <= 10


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_cut_zip_is_a_clear_error(tmp_path, share):
    data = write_zip(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"x\.zip is no zip that can be read"):
        list(archives.open_archive(tmp_path / "x.zip").entries())


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_flipped_bits_never_crash(tmp_path, seed, kind):
    rng = np.random.default_rng(seed)
    data = write_zip(tmp_path / "x.zip") if kind == "zip" else bytearray(tar(("a/1.png", DATA), ("a/2.png", DATA)))
    for place in rng.integers(0, len(data) if kind == "zip" else 1700, 1 + seed // 10):
        data[place] ^= 1 << rng.integers(8)
    (tmp_path / f"x.{kind}").write_bytes(data)
    try:
        found = content(archives.open_archive(tmp_path / f"x.{kind}"))
    except ValueError as error:
        assert f"x.{kind}" in str(error)
    else:
        assert set(found.values()) <= {DATA, "truncated", "unreadable", "file above 64 MB"} or kind == "tar"


# Anything else


def test_one_picture(tmp_path):
    (tmp_path / "x.png").write_bytes(DATA)
    assert content(archives.open_archive(tmp_path / "x.png")) == {"x.png": DATA}


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(ValueError, match=r"x\.tar is neither a folder nor a file"):
        archives.open_archive(tmp_path / "x.tar")


def test_links_of_a_folder_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "all" / "a").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for path in ("all/a/1.png", "b/1.png"):
        (tmp_path / path).write_bytes(DATA)
    (tmp_path / "all" / "b").symlink_to("../b")
    (tmp_path / "b" / "back").symlink_to("../all")
    assert content(archives.open_archive(tmp_path / "all")) == {"a/1.png": DATA, "b/1.png": DATA}


PEAKS = """
import os, sys
from maskfr_utils.faces.pictures import read_picture
from maskfr_utils.masks import cloth as mask_cloth
from maskfr_utils.peaks import peak
for code in sys.argv[1:]:
    if not os.fork():  # it begins with what the imports take
        before = peak()
        try:
            exec(code)
        except ValueError as error:
            print(error, file=sys.stderr)
        print((peak() - before) / 1e6, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
BYTES_A_PIXEL = {"I;16": 2, "RGBA": 4, "L": 1}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Folder of large pictures, and of each the MB that a process takes at most to read it, beyond those that the imports take."""
    folder = tmp_path_factory.mktemp("large")
    codes = {f"{mode}.png": f"read_picture(open('{mode}.png', 'rb').read())" for mode in BYTES_A_PIXEL}
    for mode in BYTES_A_PIXEL:
        Image.new(mode, (6000, 6000)).save(folder / f"{mode}.png", compress_level=1)
    Image.new("L", (12_000, 12_000)).save(folder / "texture.png", compress_level=1)
    codes["texture.png"] = "mask_cloth.Texture.of('texture.png')"
    command = [sys.executable, "-c", PEAKS, *codes.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return folder, dict(zip(codes, map(float, done.stdout.split()), strict=True))


@pytest.mark.parametrize("mode", BYTES_A_PIXEL)
def test_a_large_picture_takes_little_more_than_its_pixels(large, mode):
    folder, peaks = large
    assert (folder / f"{mode}.png").stat().st_size < 700_000
    assert peaks[f"{mode}.png"] < 36 * (BYTES_A_PIXEL[mode] + 3) + 90


def test_textures_have_the_limits_of_pictures(large):
    folder, peaks = large
    with pytest.raises(
        ValueError, match=r"texture\.png is no picture that a mask could carry: above 89 million pixels"
    ):
        mask_cloth.Texture.of(str(folder / "texture.png"))
    assert peaks["texture.png"] < 50


SHARD = tar(("k1.jpg", DATA), ("k1.cls", b"5"), ("sub/k2.jpg", DATA * 2), ("sub/k2.json", b'{"identity": "Ann"}'))


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
def test_webdataset_shards(tmp_path, compress):
    name = "a.tar" if compress is bytes else "a.tar.gz"
    (tmp_path / name).write_bytes(compress(SHARD))
    stem = name.rpartition(".")[0]
    wanted = {f"0000005/{stem}_k1": DATA, f"Ann/{stem}_sub%2Fk2": DATA * 2}
    for path in (tmp_path, tmp_path / name):
        archive = archives.open_archive(path)
        assert not archive.listed and content(archive) == wanted and not archive.skipped


def test_odd_samples_are_counted(tmp_path):
    deep = b"[" * 60_000
    members = [("ok.cls", b"1"), ("ok.jpg", DATA), ("a.jpg", DATA), ("b.cls", b"1"), ("c.jpg", DATA), ("c.json", deep)]
    members += [("d.jpg", DATA), ("d.cls", b"\xff"), ("e.jpg", DATA), ("e.cls", b"1" * 2**17), ("f.jpg", DATA)]
    members += [("f.json", b'{"id": [1]}'), ("g.jpg", DATA), ("g.cls", b".."), ("../h.jpg", DATA), ("../h.cls", b"1")]
    (tmp_path / "a.tar").write_bytes(tar(*members))
    (tmp_path / "b.tar").write_bytes(b"no tar")
    archive = archives.open_archive(tmp_path)
    assert content(archive) == {"0000001/a_ok": DATA}
    assert archive.skipped == {
        "sample that does not say who it shows": 5,
        "sample without a picture": 1,
        "sample whose label is too long": 1,
        "unsafe tar member": 2,
        "shard that is no tar": 1,
    }


def test_samples_of_one_name_and_of_too_long_a_name_are_counted(tmp_path):
    """The key `b_c` in `a.tar` and `c` in `a_b.tar` would both be `a_b_c`."""
    (tmp_path / "a.tar").write_bytes(
        tar(("b_c.jpg", DATA), ("b_c.cls", b"3"), ("x" * 4500 + ".jpg", DATA), ("x" * 4500 + ".cls", b"3"))
    )
    (tmp_path / "a_b.tar").write_bytes(tar(("c.jpg", DATA * 2), ("c.cls", b"3")))
    archive = archives.open_archive(tmp_path)
    assert content(archive) == {"0000003/a_b_c": DATA}
    assert archive.skipped == {"name occurs twice": 1, "name too long": 1}


@pytest.mark.parametrize("name", ["C:/a.jpg", "c:a.jpg", "/a.jpg", "a/../../b.jpg", "..", "a\\b.jpg"])
def test_names_that_leave_the_folder_on_some_system_are_unsafe(name):
    assert not archives._is_safe(name) and archives._is_safe("a/b: c.jpg")


def test_a_tar_of_people_with_a_json_beside_them_is_no_shard(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar(("a/1.jpg", DATA), ("a/about.json", b"{}")))
    assert list(content(archives.open_archive(tmp_path / "x.tar"))) == ["a/1.jpg"]
    notes = tar(("ann/1.jpg", DATA), ("ann/1.json", b'{"taken": "2020"}'), ("bob/2.jpg", DATA))
    (tmp_path / "notes.tar").write_bytes(notes)  # a JSON of the picture's name that names nobody
    assert list(content(archives.open_archive(tmp_path / "notes.tar"))) == ["ann/1.jpg", "bob/2.jpg"]


@pytest.fixture
def people(tmp_path):
    for name in ("x/1.jpg", "y/1.jpg", "2.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(DATA)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return tmp_path / "set"


def test_a_list_says_who_is_on_the_pictures(people):
    rows = ["identity,more,path", "Ann,1,x/1.jpg", f'"Bo, the 2nd",2,{people}/y/1.jpg', "7,3,./2.jpg"]
    rows += [
        "Ann,4,../secret.jpg",
        f"Ann,5,{people.parent}/secret.jpg",
        "Ann,6,gone.jpg",
        f"Ann,6,{'x' * 5000}.jpg",
        ",7,x/1.jpg",
        "Ann,8,x/1.jpg",
    ]
    (people / "list.csv").write_text("\n".join(rows))
    archive = archives.open_archive(people / "list.csv")
    assert content(archive) == dict.fromkeys(["Ann/x%2F1.jpg", "Bo, the 2nd/y%2F1.jpg", "0000007/2.jpg"], DATA)
    assert archive.skipped == {
        "outside the list's folder": 2,
        "file that is not there": 2,
        "nobody is named": 1,
        "name occurs twice": 1,
    }


def test_mxnets_list(people):
    (people / "train.lst").write_text("1\t3.0\tx/1.jpg\n2\t4\t0.5\ty/1.jpg\n3\tnan\t2.jpg\n4\t2.jpg\n")
    archive = archives.open_archive(people / "train.lst")
    assert content(archive) == {"0000003/x%2F1.jpg": DATA, "0000004/y%2F1.jpg": DATA}
    assert archive.skipped == {"nobody is named": 2}


@pytest.mark.parametrize("text", [b"", b"a,b\n1,2\n", b"path,identity\n" + b"x" * 200_000, b"\xff\xfe\0"])
def test_other_lists_are_refused(people, text):
    (people / "list.csv").write_bytes(text)
    with pytest.raises(ValueError, match=r"list\.csv") as caught:
        list(archives.open_archive(people / "list.csv").entries())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_a_picture_that_lacks_its_decoder_is_named_so(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"photo{suffix.upper()}"
    path.write_bytes(b"\0\0\0\x18ftyp")
    monkeypatch.setitem(archives.NEEDED, suffix, "in a format, which needs a package")
    with pytest.raises(ValueError, match=f"photo{suffix.upper()} is in a format, which needs a package"):
        archives.open_archive(path)


def test_a_tar_among_pictures_is_no_shard(tmp_path):
    for name in ("ann/1.jpg", "bob/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(DATA)
    (tmp_path / "backup.tar").write_bytes(tar(("k.jpg", DATA), ("k.cls", b"5")))
    archive = archives.open_archive(tmp_path)
    assert list(content(archive)) == ["ann/1.jpg", "bob/1.jpg"] and sum(archive.skipped.values()) == 1


def test_a_listed_picture_in_a_hidden_folder_is_read(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/1.jpg").write_bytes(DATA)
    (tmp_path / "list.csv").write_text("path,identity\n.cache/1.jpg,Ann\n")
    assert content(archives.open_archive(tmp_path / "list.csv")) == {"Ann/%2Ecache%2F1.jpg": DATA}


def test_large_files_with_one_other_byte_have_another_fingerprint(tmp_path):
    for name, label in (("one", b"5"), ("other", b"6")):
        for shard, of in (("0.tar", b"4"), ("1.tar", label)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / shard).write_bytes(tar(("k.jpg", DATA), ("k.cls", of)))
    one, other = (sources.open_source(tmp_path / name).fingerprint for name in ("one", "other"))
    assert one != other
