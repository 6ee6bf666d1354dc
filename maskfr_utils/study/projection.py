"""How long a training of millions of pictures would take on many GPUs: a projection from measured step times, no measurement.

Each assumption is a field, so that a reader can put in his own machine's. The longest of two things bounds a step: the GPUs, which
compute the network, their share of the identities, and what of the exchange does not hide behind that; and the loaders.
"""

from dataclasses import dataclass

FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be trained.

    Attributes:
        pictures, identities: of the training set.
        epochs: passes over it.
        parameters: of the network; ResSaNet-100's.
        embedding_dim: length of an embedding.
        class_rate: share of the identities that a step draws.
    """

    pictures: int
    identities: int
    epochs: float = 20
    parameters: int = 66_403_648
    embedding_dim: int = 512
    class_rate: float = 1.0


MS1M = Work(pictures=5_179_510, identities=93_431)  # MS1M-RetinaFace, also called MS1MV3
WEBFACE42M = Work(pictures=42_500_000, identities=2_060_000, class_rate=0.1)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What it is trained on; rates are a second.

    Attributes:
        pictures: that a GPU trains the network on, by itself, at this batch: measured.
        batch: pictures a step and GPU.
        products: multiply-adds of large matrix products, for the identities.
        gpus: in a node.
        within, between: bytes that a GPU exchanges with others of its node, and with other nodes.
        hidden: share of the exchange of gradients that goes on while gradients are computed.
        decoded: pictures that a core reads, decodes and draws on.
        cores: for loading, a GPU.
        disk: bytes that a checkpoint is written at.
        checkpoint_minutes: between two.
        price: of a GPU and hour, in any currency.
    """

    pictures: float
    batch: int = 128
    products: float = 280e12
    gpus: int = 8
    within: float = 300e9
    between: float = 25e9
    hidden: float = 0.7
    decoded: float = 1_000
    cores: int = 12
    disk: float = 1e9
    checkpoint_minutes: float = 15
    price: float = 3.0


@dataclass(frozen=True)
class Projection:
    """Seconds of a step by part, and the `hours` and `cost` of the whole; `bound` says whether GPUs or loaders set the pace."""

    network: float
    identities: float
    exchange: float
    loading: float
    step: float
    hours: float
    cost: float
    bound: str


def project(work: Work, machine: Machine, gpus: int) -> Projection:
    """Projects a training on `gpus` GPUs.

    The class matrix is shared out over them, each step's embeddings are gathered, and the network's gradients go round a ring:
    each GPU sends and receives 2 (g - 1) / g times their bytes.

    Raises:
        ValueError: fewer than one GPU.
    """
    if gpus < 1:
        raise ValueError(f"{gpus} GPUs: at least 1")
    network = machine.batch / machine.pictures
    batch = machine.batch * gpus
    rows = work.identities * work.class_rate / gpus
    identities = 3 * batch * rows * work.embedding_dim / machine.products  # forward, and back to both sides
    speed = machine.within if gpus <= machine.gpus else machine.between
    ring = 2 * (gpus - 1) / gpus
    gradients = ring * work.parameters * FLOAT / speed
    # Embeddings are gathered, their gradients summed; two numbers a picture of the softmax are nothing beside them.
    embeddings = (0.5 * ring + ring) * batch * work.embedding_dim * FLOAT / speed
    exchange = (1 - machine.hidden) * gradients + embeddings
    loading = machine.batch / (machine.decoded * machine.cores)
    computed = network + identities + exchange
    step = max(computed, loading)
    seconds = work.epochs * work.pictures / batch * step
    state = (
        FLOAT * 2 * (work.parameters + work.identities * work.embedding_dim / gpus)
    )  # weights and momentum; each GPU its own rows
    seconds *= 1 + state / machine.disk / (60 * machine.checkpoint_minutes)
    hours = seconds / 3600
    bound = "loaders" if loading > computed else "GPUs"
    return Projection(network, identities, exchange, loading, step, hours, hours * gpus * machine.price, bound)
