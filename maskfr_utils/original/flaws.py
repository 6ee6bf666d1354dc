"""The deviations of the code behind the report: what each was, and where its public repository shows it. Free of torch.

The repository is shiyuhu1933/ResSaNet, read as a description; what is said of it here can be looked up in the notebook that
is named.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from maskfr_utils.names import unknown

TRAINING, SCORING, LOGGING = "training", "scoring", "logging"


@dataclass(frozen=True)
class Flaw:
    """One deviation.

    Attributes:
        title: its name in tables and figures.
        fact: what the code does.
        source: the notebook of its repository, or the page, that shows it.
        changes: `TRAINING`: it needs a network of its own; `SCORING`: the same network is scored in two ways; `LOGGING`: it
            changes no accuracy.
    """

    title: str
    fact: str
    source: str
    changes: str


# In the order in which the audit takes them away.
FLAWS = {
    "folders": Flaw(
        "faces from the folder _no_mask",
        "The notebook that prints 0.9208 for ResSaNet-100 reads a folder whose name ends in no_mask; the report lists the "
        "number as a masked result.",
        "train_test_ResSaNet.ipynb; report, Table 2",
        TRAINING,
    ),
    "people_mean": Flaw(
        "mean over people",
        "What two of the three notebooks print as accuracy is the mean over people of each one's share of right photos, not the "
        "share of photos that the report's formula speaks of; that of ResNet-50 counts photos.",
        "train_test_ResSaNet.ipynb, train_test_iResNet.ipynb; report, section 5",
        SCORING,
    ),
    "three_photos": Flaw(
        "three photos a person",
        "The split notebook takes the first three photos listed of each person for testing; the report says a tenth. It ran on a "
        "folder of 8,208 people, so whether a number of the report comes of it is not known.",
        "train_test_split.ipynb; report, section 4",
        SCORING,
    ),
    "batch_statistics": Flaw(
        "BatchNorm in training mode",
        "The network is never put into evaluation mode, so that its BatchNorms normalise test photos by the statistics of "
        "the test batch (256, 512 or 1,024 photos, shuffled).",
        "train_test_ResSaNet.ipynb and both others",
        SCORING,
    ),
    "mirrored_twins": Flaw(
        "mirrored twins before the split",
        "Inferred from the order in which the report tells it and from the name of the folder that is read (no notebook shows the "
        "split): mirrored copies lie beside the photos before some are drawn for testing, so that of most the mirror image was "
        "trained on.",
        "data_augmentation.ipynb; train_test_iResNet.ipynb reads random_with_aug",
        TRAINING,
    ),
    "near_copies": Flaw(
        "near-copies left in",
        "Photos of one person that repeat each other, cut out anew or re-compressed, are not looked for, so they are split like "
        "any others.",
        "photos_clean_rename.ipynb counts and renames only",
        TRAINING,
    ),
    "logit_loss": Flaw(
        "loss on normalised logits (s = 45)",
        "The loss called ArcFace divides the scores of a linear layer by the length of the vector that they form; neither embeddings "
        "nor class weights are normalised, so no angle between them is involved. Its s of 45 and m of 0.1 come with it.",
        "ArcFaceloss.ipynb",
        TRAINING,
    ),
    "bgr_255": Flaw(
        "BGR from 0 to 255",
        "Pictures go in as OpenCV reads them, blue first, as floats from 0 to 255.",
        "transfer_data_to_H5.ipynb, train_test_ResSaNet.ipynb (image_to_rgb keeps the order)",
        TRAINING,
    ),
    "shared_modules": Flaw(
        "modules used twice",
        "The transformer block calls one convolution, one BatchNorm and one PReLU at two places each, and SE-IBasic_F one "
        "FReLU; the papers keep them apart.",
        "IBT.ipynb, SE_iBasic_F.ipynb",
        TRAINING,
    ),
    "initial_weights": Flaw(
        "its own initial weights",
        "All convolutions begin by He's rule for the outputs of a layer: depthwise filters as if each saw all channels, gates "
        "like convolutions, and the projections of attention, whose scores are not scaled, so large that they differ by much from "
        "the start.",
        "ResSaNet.ipynb, iResNet.ipynb",
        TRAINING,
    ),
    "network": Flaw(
        "its own network (stem of 7 x 7 and pooled head)",
        "A 7 x 7 stem and four stages halve the map five times (28, 14, 7, 4 positions for 56, 28, 14, 7), the mean over "
        "positions is the embedding, and blocks take another order of layers than the paper's. Attention has biases, its "
        "positions meet the query on the wrong side and no BatchNorm follows it; its block has no wider middle; gates have a "
        "sixteenth of the channels; a PReLU has one slope for all channels (IResNet: ReLU); shortcuts are max-pooled.",
        "iResNet.ipynb, ResSaNet.ipynb",
        TRAINING,
    ),
    "batch_size": Flaw(
        "a batch of half the size",
        "The notebooks train with 512, 1,024 and 256 photos a step; the report compares the networks at 512 and tells of the "
        "256 of ResSaNet-100, but not of the 1,024. Half the size, the case that it tells of, is measured.",
        "train_test_Resnet50.ipynb, train_test_iResNet.ipynb, train_test_ResSaNet.ipynb; report, Table 2",
        TRAINING,
    ),
    "logged_loss": Flaw(
        "loss divided by epochs",
        "The loss that is printed is the sum over an epoch's batches divided by the number of epochs, not of batches.",
        "train_test_ResSaNet.ipynb and both others",
        LOGGING,
    ),
}
TRAINED = tuple(name for name, flaw in FLAWS.items() if flaw.changes == TRAINING)
SCORED = tuple(name for name, flaw in FLAWS.items() if flaw.changes == SCORING)
NETWORK = ("bgr_255", "shared_modules", "initial_weights", "network")  # of the network itself
POOL = ("mirrored_twins", "near_copies")  # of which photos are trained and tested on
NEEDS = {"shared_modules": "network", "initial_weights": "network"}  # a flaw that is one of another's only
LOSS = {"loss": "legacy_arcface", "scale": 45.0, "margin": 0.1}


def ordered(flaws: Iterable[str]) -> tuple[str, ...]:
    """These flaws of training, in the order of `FLAWS`, each once.

    Raises:
        ValueError: one of them is none, or needs another.
    """
    flaws = set(flaws)
    for name in sorted(flaws - set(TRAINED)):
        raise ValueError(unknown("flaw of training", name, TRAINED))
    for name in flaws & NEEDS.keys():
        if NEEDS[name] not in flaws:
            raise ValueError(f"{name} is of the original's network: it needs {NEEDS[name]}, too")
    return tuple(name for name in TRAINED if name in flaws)


def overrides(flaws: Collection[str], values: Mapping[str, object]) -> dict[str, object]:
    """The parameters of a training that its flaws change.

    Args:
        flaws: of training.
        values: its parameters without them: `batch_size`, `epochs`, `warmup_epochs`, `margin_warmup_epochs`, `width`.
    """
    found = dict(LOSS) if "logit_loss" in flaws else {}
    if "folders" in flaws:
        found["condition"] = "unmasked"
    if "batch_size" in flaws:
        found["batch_size"] = max(values["batch_size"] // 2, 2)
    if "network" in flaws:
        found["embedding_dim"] = max(16, round(values["width"] * 512 / 8) * 8)  # the last stage's channels
    if "mirrored_twins" in flaws:  # twice the photos, half the passes: as many steps
        found["epochs"] = -(-values["epochs"] // 2)
        found |= {name: values[name] / 2 for name in ("warmup_epochs", "margin_warmup_epochs")}
    return found
