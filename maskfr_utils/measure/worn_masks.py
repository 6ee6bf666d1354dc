"""How well a small network tells that a mask is worn already: trained on bare and drawn masks, tested on real ones.

    python -m maskfr_utils.measure.worn_masks             # test the network of the package, write the record
    python -m maskfr_utils.measure.worn_masks --train     # train it anew first: minutes on one core

It is trained on rendered people only, bare and with drawn masks, so that it may be handed on with the package. Real masks are those
of MFR2 (Anwar and Raychowdhury 2020); bare faces and drawn masks are also tested on people of LFW (Huang et al. 2007).
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import nn

from maskfr_utils import masks, paths
from maskfr_utils.faces.sources import landmarks_of, open_source
from maskfr_utils.masks import worn
from maskfr_utils.measure import mfr2, record
from maskfr_utils.measure.recognition import over_people
from maskfr_utils.paths import replacing, results_dir
from maskfr_utils.records import write_json
from maskfr_utils.rendered import render_faces

RECORD = results_dir() / "masks" / "worn.json"
SEED = 3054  # of rendered people who are in nothing else; the next one's are tested on
EPOCHS, BATCH, RATE = 6, 64, 4e-3
Groups = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> faces (n, 112, 112, 3) uint8, and whose they are (n,)


def pairs(faces: np.ndarray, landmarks: np.ndarray | None, people: np.ndarray, seed: int) -> Groups:
    """`bare` faces, and `drawn` those of them on which a mask could be drawn."""
    drawn = masks.mask_faces(faces, landmarks, seed=seed)
    return {"bare": (faces, people), "drawn": (drawn.images[drawn.ok], people[drawn.ok])}


def rendered_pairs(people: int, photos: int, seed: int) -> Groups:
    """The same of rendered people."""
    faces = render_faces(people, photos, seed=seed)
    return pairs(faces.images, faces.landmarks, faces.labels, seed)


def photo_pairs(name: str, most: int, seed: int) -> Groups:
    """The same of photos drawn from a data set.

    Raises:
        FileNotFoundError: it is not here.
    """
    faces = list(open_source(paths.find_data(name) / f"{name}_112.tar"))
    some = np.sort(np.random.default_rng(seed).permutation(len(faces))[:most])
    chosen = [faces[i] for i in some]
    people = np.array([face.identity for face in chosen])
    return pairs(np.array([face.image for face in chosen]), landmarks_of(chosen), people, seed)


def train(bare: np.ndarray, drawn: np.ndarray, *, epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """Trains the network.

    Args:
        bare, drawn: (n, 112, 112, 3) uint8.
        epochs: passes over them.
        seed: of weights, order and augmentation.
    """
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), worn.make_network()
    faces, wears = np.concatenate([bare, drawn]), np.repeat([0.0, 1.0], [len(bare), len(drawn)]).astype(np.float32)
    steps = max(1, len(faces) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        for some in np.array_split(rng.permutation(len(faces)), steps):
            images = np.stack([_disturbed(faces[i], rng) for i in some]).transpose(0, 3, 1, 2)
            logits = network(torch.from_numpy(np.ascontiguousarray(images, np.float32)) / 127.5 - 1)[:, 0]
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(wears[some])).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _disturbed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A face askew, blurred, in other light and colours, as photos with real masks are: (56, 56, 3) float64."""
    turn = cv2.getRotationMatrix2D((55.5, 55.5), rng.normal(0, 8), np.exp(rng.normal(0, 0.12)))
    turn[:, 2] += rng.normal(0, 5, 2)
    beyond = cv2.BORDER_REFLECT if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    face = cv2.warpAffine(face, turn, face.shape[:2], borderMode=beyond)
    if rng.random() < 0.3:
        face = cv2.GaussianBlur(face, (0, 0), rng.uniform(0.5, 2.5))
    face = cv2.resize(face, (worn.SIZE, worn.SIZE), interpolation=cv2.INTER_AREA).astype(float)
    face = (face - 128) * np.exp(rng.normal(0, 0.25)) + 128 + rng.normal(0, 20) + rng.normal(0, 8, 3)
    if rng.random() < 0.15:
        face[:] = face.mean(-1, keepdims=True)
    return (face[:, ::-1] if rng.random() < 0.5 else face) + rng.normal(0, 4, face.shape)


def rates(network: nn.Module | None, groups: Groups) -> dict[str, dict[str, float]]:
    """Of each group of faces the share in which a mask is said to be worn, with its 95% interval over people."""
    found = {}
    for name, (faces, people) in groups.items():
        said = worn.worn_probability(faces, network) > worn.LIKELY
        found[name] = over_people(said, people, SEED) | {"faces": len(faces)}
    return found


def measure(network: nn.Module | None = None) -> dict:
    """The record, of the package's network by default; errors are those of the readers."""
    started = time.perf_counter()
    source = open_source(mfr2.lies_in(folder := paths.find_data("mfr2")))
    photos = mfr2.read(folder)
    groups = {"rendered": rendered_pairs(60, 2, SEED + 1), "lfw": photo_pairs("lfw", 600, SEED)}
    # Where no face was detected when MFR2 was aligned the cut is a guess, as it never is in a photo that is enrolled.
    for name, some in {"mfr2": photos, "mfr2, face detected": photos.only(photos.detected)}.items():
        sides = {"bare": some.only(~some.masked), "real": some.only(some.masked)}
        groups[name] = {kind: (side.images, side.people) for kind, side in sides.items()}
    return {
        "said_to_wear_a_mask": {name: rates(network, faces) for name, faces in groups.items()},
        "weights": sum(t.numel() for t in worn.make_network().parameters()),
        "provenance": record.made(started, data=f"rendered, lfw, mfr2 {source.fingerprint}"),
    }


def table(made: dict) -> pd.DataFrame:
    """Of each group of faces the percentage in which a mask is said to be worn, with intervals."""
    told = {"bare": "bare faces", "drawn": "drawn masks", "real": "real masks"}
    lines = {
        name: {told[kind]: record.percent(rate) for kind, rate in found.items()}
        for name, found in made["said_to_wear_a_mask"].items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=list(told.values())).fillna("")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = record.parser("worn_masks", __doc__, RECORD)
    parser.add_argument("--train", action="store_true", help="train the network anew, into the package, first")
    args = parser.parse_args(argv)

    def run() -> None:
        if args.train:
            network = train(**{kind: faces for kind, (faces, _) in rendered_pairs(300, 4, SEED).items()})
            with replacing(Path(worn.WEIGHTS)) as temporary:
                temporary.write_bytes(save(network.state_dict()))
        made = measure()
        write_json(args.out, made)
        for name, found in made["said_to_wear_a_mask"].items():
            print(f"{name:20}", {kind: f"{rate['value']:.1%} of {rate['faces']}" for kind, rate in found.items()})

    return record.status("worn_masks", run)


if __name__ == "__main__":
    sys.exit(main())
