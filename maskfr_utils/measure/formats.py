"""The formats that `soak` damages: small whole files of each, and what reads them as a user's call does."""

import contextlib
import io
import json
import pickle
import signal
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image

from maskfr_utils import convert, parts, records, store
from maskfr_utils.checkpoints import Checkpoints
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.faces import recordio, sources, verification
from maskfr_utils.faces.pictures import read_picture
from maskfr_utils.loop import Trainer
from maskfr_utils.masks.cloth import Texture
from maskfr_utils.masks.manifest import NAME, Manifest
from maskfr_utils.masks.styles import load_styles
from maskfr_utils.models import create_model, save_model
from maskfr_utils.models.given import load_network
from maskfr_utils.stopping import Stopped
from maskfr_utils.twins import Block

Files = dict[str, bytes]
SETTINGS = {"style": "random", "seed": 0}  # of the manifest
PARAMS = {"width": 0.05, "embedding_dim": 16, "batch_size": 2, "epochs": 2, "dropout": 0.2, "precision": "32-true", "compile": False}  # fmt: skip
TEXT_WORDS = (
    b"&a [1]", b"*a", b"<<: *a", b"!!python/object/apply:os.mkdir ['x']", b"!!binary x", b"- " * 50, b"[" * 2000, b"{", b"}",
    b'"', b"null", b"true", b"~", b"\0", b"\xff\xfe", b"\n", b": ", b"2024-13-45", b"../../x", b"/etc/passwd", b"\xed\xa0\x80",
)  # fmt: skip
PICKLE_WORDS = (
    b"cos\nmkdir\n(S'x'\ntR.",
    b"cposix\nsystem\n",
    b"\x8c\x02os\x8c\x05mkdir\x93",
    b"c_codecs\nencode\n",
    b"R",
    b".",
    b"(" * 999,
)
NAME_WORDS = (b"../../x", b"/tmp/x", b"a\0b", b"\xff", b"x" * 300, b"a/" * 200, b"99 path=../x\n", b"\\..\\x")


@dataclass(frozen=True)
class Format:
    """A format, as it is fuzzed.

    Attributes:
        make: several times the files of a whole input, by name.
        read: reads the files in a folder; how many pictures, members or lines were left out and counted.
        words: that mean something in it.
        share: of the inputs, beside the other formats'.
    """

    make: Callable[[], list[Files]]
    read: Callable[[Path], int]
    words: tuple[bytes, ...] = TEXT_WORDS
    share: float = 1.0


# ---- whole files --------------------------------------------------------------------------------------------------


@cache
def faces(count: int = 4) -> np.ndarray:
    """(n, 112, 112, 3) uint8: smooth blots, which compress as photos do."""
    small = np.random.default_rng(0).integers(0, 256, (count, 7, 7, 3), np.uint8)
    return np.stack([cv2.resize(each, (112, 112), interpolation=cv2.INTER_CUBIC) for each in small])


def encoded(face: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """A picture as a file."""
    Image.fromarray(face).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def people() -> Files:
    """Pictures of two people by name."""
    kinds = (("jpg", "JPEG"), ("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP"))
    return {
        f"p{i // 2}/{i}.{end}": encoded(face, kind)
        for i, (face, (end, kind)) in enumerate(zip(faces(), kinds, strict=True))
    }


def written(write: Callable[[Path], object]) -> Files:
    """The files that `write` leaves in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        found = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def samples() -> list[tuple[str, str, bytes]]:
    """Those people as `convert` takes them."""
    return [(*name.split("/"), data) for name, data in people().items()]


def recordio_files() -> list[Files]:
    """Plain, and with several labels and a record in parts."""
    parted = [("p", "0", recordio.MAGIC * 3), *samples()]
    sets = [(samples(), ()), (parted, (1, 2))]
    return [written(lambda f, s=s, more=more: recordio.write_set(f, iter(s), labels=more)) for s, more in sets]


def bin_files() -> list[Files]:
    """Of several protocols."""
    content = list(people().values()), [True, False]
    return [{"lfw.bin": pickle.dumps(content, protocol)} for protocol in (0, 2, 4)]


def store_files() -> list[Files]:
    """With raw pixels, with JPEGs, and without checksums of its own."""

    def write(folder: Path, encoding: str) -> None:
        with store.FaceWriter(folder / "faces.h5", {"seed": 0, "style": "random"}, encoding) as writer:
            writer.append(faces(2), faces(4)[2:], ["p", "q"], ["p/1", "q/2"], mask_kinds=["cloth", "n95"])

    def older(folder: Path) -> None:
        """The same in HDF5's oldest form, whose own data has no checksums."""
        write(folder, "raw")
        (folder / "faces.h5").rename(folder / "newer.h5")
        with h5py.File(folder / "newer.h5") as newer, h5py.File(folder / "faces.h5", "w", libver="earliest") as file:
            file.attrs.update(newer.attrs)
            for name in newer:
                newer.copy(name, file)
        (folder / "newer.h5").unlink()

    return [*(written(lambda folder, e=e: write(folder, e)) for e in ("raw", "jpeg")), written(older)]


def tar_files(shards: bool = False) -> list[Files]:
    """Plain and compressed, in two dialects."""
    if shards:
        plain = written(lambda folder: convert.write_shards(folder, iter(samples())))
        return [plain, {f"{name}.gz": data for name, data in plain.items()}]

    def packed(kind: int) -> bytes:
        with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", format=kind) as archive:
            for name, data in {**people(), f"p1/{'long' * 60}.jpg": encoded(faces()[0])}.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return file.getvalue()

    kinds = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT
    return [{"people.tar": packed(kinds[0])}, {"people.tar": packed(kinds[1])}, {"people.tar.gz": packed(kinds[0])}]


def zip_files() -> list[Files]:
    """Stored, deflated."""

    def packed(kind: int) -> bytes:
        with zipfile.ZipFile(file := io.BytesIO(), "w", kind) as archive:
            for name, data in people().items():
                archive.writestr(zipfile.ZipInfo(name), data, kind)
        return file.getvalue()

    return [{"people.zip": packed(kind)} for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


def picture_files() -> list[Files]:
    """Of each format, some of an odd mode."""
    face = faces(1)[0]
    grey = (face[..., 0].astype(np.uint16) << 8) + face[..., 1]
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = {"x.bmp": "BMP", "x.webp": "WEBP", "x.gif": "GIF", "x.ppm": "PPM", "x.png": "PNG", "x.tif": "TIFF"}
    files = [{name: encoded(face, kind)} for name, kind in plain.items()]
    files += [{"x.jpg": encoded(face, exif=exif)}, {"x.jpg": encoded(face, progressive=True)}]
    files += [{"x.png": encoded(grey, "PNG")}, {"x.tif": encoded(grey, "TIFF", compression="tiff_lzw")}]
    return files + [{"x.png": encoded(np.dstack([face, face[..., :1]]), "PNG")}]


def npz_files() -> list[Files]:
    """Landmarks beside pictures; a part of a preparation."""
    points = np.random.default_rng(0).uniform(0, 112, (4, 68, 2))

    def landmarks(folder: Path) -> None:
        np.savez(folder / "landmarks68.npz", files=np.array(list(people())), points=points)

    def part(folder: Path) -> None:
        columns = {
            "images": faces(2),
            "masked": faces(2),
            "landmarks": points[:2].astype(np.float32),
            "masked_ok": np.ones(2, bool),
        }
        columns |= {name: ["a", "b"] for name in ("identities", "sources", "mask_kinds")}
        parts.Parts(folder / "faces.h5", "key").keep(0, [Block(columns, [1, 2], {"x": "empty file"})])

    return [people() | written(landmarks), written(part)]


def list_files() -> list[Files]:
    """A CSV and MXNet's list of pictures, and LFW's pairs."""
    pictures = people()
    table = "path,identity\n" + "".join(f"{name},{name[:2]}\n" for name in pictures)
    listing = "".join(f"{i}\t{i % 2}\t{name}\n" for i, name in enumerate(pictures))
    lfw = {f"p{i}/p{i}_000{j}.jpg": encoded(faces()[j]) for i in (0, 1) for j in (1, 2)}
    pairs = "1\t2\np0\t1\t2\np0\t1\tp1\t2\n"
    return [
        pictures | {"list.csv": table.encode()},
        pictures | {"list.lst": listing.encode()},
        lfw | {"pairs.txt": pairs.encode()},
    ]


def yaml_files() -> list[Files]:
    """Parameters of a run, and styles of masks."""
    params = "".join(f"{name}: {json.dumps(value)}\n" for name, value in PARAMS.items())
    style = "mine:\n  kind: cloth\n  colours: {navy: 2, '#ff0000': 1.5}\n  patterns: [plain, dots]\n  intensity: 0.8\n"
    return [{"run.yaml": f"# a run\n{params}out_dir: 'x'\nlr: 1e-2\n".encode()}, {"style.yaml": style.encode()}]


def record_files() -> list[Files]:
    """A run's and a measurement's."""
    made = records.provenance(device="cpu", data="x", seconds=1.0)
    score = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "photos": 100}
    run = {
        "run": "x",
        "params": TrainConfig().science(),
        "metrics": {"masked": score, "unmasked": score},
        "throughput": {"train_images_per_second": 50.0, "steps": 372},
        "provenance": made,
    }
    measured = {"pairs": [[1, 2.5], [3, 4]], "provenance": made}
    return [{"record.json": json.dumps(run).encode()}, {"measured.json": json.dumps(measured, indent=1).encode()}]


def manifest_files() -> list[Files]:
    """Of a masked folder."""
    lines = [
        SETTINGS,
        {"source": "a.jpg", "size": 9, "out": "a.png", "kinds": ["cloth", ""]},
        {"source": "b", "size": 1, "skipped": "empty file"},
    ]
    return [{NAME: "".join(json.dumps(line) + "\n" for line in lines).encode(), "images/a.png": b"x"}]


def checkpoint_files() -> list[Files]:
    """One, and two of which the older is whole.

    Gradients are made up: autograd refuses a process that was forked off one whose threads it used.
    """

    def backward(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
        for parameter in run.recogniser.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        return torch.ones(()), torch.zeros(())

    run = trainer()
    run.backward = backward
    run.stopping.asked = signal.SIGTERM
    with contextlib.suppress(Stopped):
        run.fit()
    newest = {path.name: path.read_bytes() for path in run.checkpoints.paths}
    return [newest, newest | {run.checkpoints.before.name: newest[run.checkpoints.newest.name]}]


def network_files() -> list[Files]:
    """Our safetensors, and what `torch.save` writes."""
    model = create_model("iresnet50", width=0.05, embedding_dim=16)
    ours = written(lambda folder: save_model(folder / "model.safetensors", model, classes=["a", "b"]))
    theirs = written(lambda folder: torch.save(dict(list(model.state_dict().items())[:8]), folder / "backbone.pth"))
    return [ours, theirs]


# ---- what reads them ----------------------------------------------------------------------------------------------


@cache
def trainer() -> Trainer:
    """A run of two people, small enough to be saved thousands of times."""
    folder = Path(tempfile.mkdtemp(prefix="maskfr-soak-"))
    with store.FaceWriter(folder / "faces.h5", {"fingerprint": "x"}) as writer:
        names = [f"p{i // 4}" for i in range(12)]
        writer.append(faces(12), faces(12), names)
        writer.assign(np.arange(12) // 4, np.tile([0, 0, 0, 1], 3), ["p0", "p1", "p2"])
    config = TrainConfig(model="iresnet50", out_dir=str(folder / "run"), resume=False, **PARAMS)
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(config, store.FaceStore(folder / "faces.h5"), fabric)


def read_people(path: Path) -> int:
    """All faces of a source."""
    source = sources.open_source(path)
    for _ in source:
        pass
    return source.skipped.total()


def read_store(folder: Path) -> int:
    """Everything in a store."""
    opened = store.FaceStore(folder / "faces.h5")
    for name in ("landmarks", "masked_ok", "duplicate_of", "sources", "mask_kinds"):
        getattr(opened, name)
    for masked in (False, True):
        opened.batch(range(len(opened)), masked=masked)
    opened.close()
    return 0


def read_picture_file(folder: Path) -> int:
    """As a photo, and as a mask's texture."""
    (path,) = (path for path in folder.iterdir() if path.is_file())
    if path.stat().st_size % 2:
        Texture.of(str(path))
    else:
        read_picture(path.read_bytes())
    return 0


def read_npz(folder: Path) -> int:
    """The faces with their landmarks, or the parts that are whole."""
    if not (folder / ".parts-faces.h5").exists():
        return read_people(folder)
    return 1 - len(list(parts.Parts(folder / "faces.h5", "key").kept()))


def read_list(folder: Path) -> int:
    """The faces that a list names, or LFW's pairs."""
    listed = [path for path in (folder / "list.csv", folder / "list.lst") if path.exists()]
    if listed:
        return read_people(listed[0])
    return verification.decode_pairs(*verification.read_lfw_pairs(folder)).skipped.total()


def read_yaml(folder: Path) -> int:
    """Parameters, or styles."""
    if (folder / "style.yaml").exists():
        load_styles(folder / "style.yaml")
    else:
        TrainConfig.from_mapping(load_params(folder / "run.yaml"))
    return 0


def read_json(folder: Path) -> int:
    """A record."""
    if (folder / "record.json").exists():
        records.read_record(folder / "record.json")
    else:
        records.read_measurement("measured.json", folder)
    return 0


def read_manifest(folder: Path) -> int:
    """A masked folder, as a call that goes on with it does."""
    with Manifest(folder, SETTINGS) as manifest:
        return 2 - len(manifest.done)


def resume(folder: Path) -> int:
    """A run from its checkpoints."""
    run = trainer()
    run.checkpoints = Checkpoints(folder)
    run.resume()
    return 0


def read_network(folder: Path) -> int:
    """A trained network, whoever trained it."""
    (path,) = (path for path in folder.iterdir() if path.is_file())
    load_network(path)
    return 0


FORMATS = {
    "recordio": Format(recordio_files, read_people, NAME_WORDS),
    "bin": Format(bin_files, lambda folder: verification.read_verification_bin(folder / "lfw.bin").skipped.total(), PICKLE_WORDS),
    "hdf5": Format(store_files, read_store, NAME_WORDS),
    "yaml": Format(yaml_files, read_yaml),
    "json": Format(record_files, read_json),
    "manifest": Format(manifest_files, read_manifest),
    "list": Format(list_files, read_list, TEXT_WORDS + NAME_WORDS),
    "checkpoint": Format(checkpoint_files, resume, TEXT_WORDS, 0.5),
    "network": Format(network_files, read_network, PICKLE_WORDS, 0.5),
    "tar": Format(tar_files, lambda folder: read_people(next(folder.iterdir())), NAME_WORDS),
    "shards": Format(lambda: tar_files(shards=True), read_people, NAME_WORDS),
    "zip": Format(zip_files, lambda folder: read_people(next(folder.iterdir())), NAME_WORDS),
    "picture": Format(picture_files, read_picture_file, (b"IHDR", b"IEND", b"acTL", b"\xff\xd9", b"\xff\xda")),
    "npz": Format(npz_files, read_npz, NAME_WORDS + PICKLE_WORDS),
}  # fmt: skip
