"""The totals of IResNet and ResSaNet as arithmetic, for every choice that their papers leave open.

The networks themselves are in `models`; with the default choices the sums here equal what `profile` counts in them. Sums
are quick enough to try thousands of choices against the published totals.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from maskfr_utils.names import NETWORKS

CHANNELS = (64, 64, 128, 256, 512)  # of the stem and the four stages
SIZES = (112, 56, 28, 14, 7)
EMBEDDING = 512
PUBLISHED = {  # Chang, Tsai and Lo (2021): parameters in millions, multiply-adds in billions, inference in milliseconds
    "iresnet50": (43.57, 6.31, 4.51),
    "ressanet50": (44.13, 6.29, 5.18),
    "iresnet100": (65.16, 12.12, 7.03),
    "ressanet100": (66.35, 12.11, 9.69),
}
POSITIONS = ("axes", "relative", "table", "none")
SHRINKS = ("convolution", "attention", "end")
# Operations an element by THOP of autumn 2021 (github.com/Lyken17/pytorch-OpCounter): a softmax over n numbers takes n
# exponentials, n - 1 sums and n quotients, about 3 an element (its rule of 10 September 2021 raised an error on more than two
# dimensions; that was mended on its default branch on 11 October); the products of attention are no module and not seen.
COUNTER = {"product": 1, "depthwise": 1, "bias": 1, "norm": 2, "prelu": 1, "pool": 1, "softmax": 3}
WORDS = {  # what the fields of `Choices` ask, and the counter's
    "expansion": "expansion k of MBConv",
    "reduction": "reduction r of SE",
    "se_bias": "biases in SE",
    "se_from_input": "SE in MBConv narrows the block's channels",
    "frelu_bias": "biases in FReLU",
    "attention_bias": "biases in attention",
    "attention_projection": "projection behind attention",
    "positions": "position terms",
    "shrink": "the map is halved at",
    "full_shortcut": "the shortcut is projected first, then halved",
    "middle_norm": "BatchNorm before the activation",
    "missed": "missed by the counter",
}


@dataclass(frozen=True)
class Choices:
    """What a builder of ResSaNet has to decide; the defaults are those of `models`.

    Attributes:
        expansion: k of MBConv.
        reduction: r of SE.
        se_bias: biases in the two layers of SE.
        se_from_input: in MBConv, SE narrows to 1/r of the block's channels, not of the expanded ones.
        frelu_bias: biases in the convolution of FReLU, as in its authors' code.
        attention_bias: biases in queries, keys and values.
        attention_projection: another 1x1 convolution behind the attention.
        positions: position terms: a vector for each row and column of a head ("axes"); for each difference of rows and
            of columns, shared by the heads ("relative"); for each place ("table"); or "none".
        shrink: where the first IBT halves the map: "convolution", "attention" (before it) or "end" (after it).
        full_shortcut: its shortcut is projected before it is halved.
        middle_norm: a BatchNorm between a block's first convolution and its activation. Without it the first block of
            stage 1 has a max pool for a shortcut, too: the two code bases of the field differ in both.
    """

    expansion: int = 2
    reduction: int = 4
    se_bias: bool = False
    se_from_input: bool = False
    frelu_bias: bool = False
    attention_bias: bool = False
    attention_projection: bool = False
    positions: str = "axes"
    shrink: str = "attention"
    full_shortcut: bool = True
    middle_norm: bool = True


class Sum:
    """Parameters by the part that holds them, and operations by their kind."""

    def __init__(self):
        self.parameters: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def millions(self, missed: Container[str] = ()) -> float:
        """Parameters in millions, without the parts that a counter missed."""
        return sum(n for part, n in self.parameters.items() if part not in missed) / 1e6

    def billions(self, counter: Mapping[str, int] = COUNTER) -> float:
        """Operations in billions, as a counter takes them: kind -> operations an element."""
        return sum(times * self.operations[kind] for kind, times in counter.items()) / 1e9

    def add(self, other: "Sum", times: int = 1) -> None:
        """Count another sum, several times."""
        for mine, theirs in ((self.parameters, other.parameters), (self.operations, other.operations)):
            for key, value in theirs.items():
                mine[key] += times * value

    def conv(self, inputs: int, outputs: int, kernel: int, size: int, part: str = "other", groups: int = 1, bias=False):
        """A convolution whose output has `size` x `size` positions."""
        weights = inputs // groups * outputs * kernel**2
        self.parameters[part] += weights + bias * outputs
        self.operations["depthwise" if part == "depthwise" else "product"] += weights * size**2
        self.operations["bias"] += bias * outputs * size**2

    def norm(self, channels: int, size: int, part: str = "other"):
        """A BatchNorm."""
        self.parameters[part] += 2 * channels
        self.operations["norm"] += channels * size**2

    def prelu(self, channels: int, size: int):
        """A PReLU with a slope for each channel."""
        self.parameters["prelu"] += channels
        self.operations["prelu"] += channels * size**2

    def se(self, channels: int, hidden: int, size: int, bias: bool):
        """Squeeze and excitation."""
        self.parameters["other"] += 2 * channels * hidden + bias * (channels + hidden)
        self.operations["product"] += 2 * channels * hidden
        self.operations["pool"] += channels * (size**2 + 1)


def printed(network: Sum, name: str, missed: Container[str] = (), counter: Mapping[str, int] = COUNTER):
    """Whether a network's sum, so counted, is the published one to its two decimals: in parameters, and in operations.

    Args:
        network: the sum.
        name: of the network in `PUBLISHED`.
        missed: parts whose parameters the counter missed.
        counter: kind of operation -> operations an element.

    Returns:
        Two bools.
    """
    millions, billions, _ = PUBLISHED[name]
    return round(network.millions(missed), 2) == millions, round(network.billions(counter), 2) == billions


def in_words(found: Iterable[tuple[Choices, tuple[str, ...]]]) -> dict[str, str]:
    """What each choice may be, and what a counter may have missed, among those found: question -> answers."""
    rows = [{**vars(choices), "missed": " and ".join(missed) or "nothing"} for choices, missed in found]
    words = {"True": "yes", "False": "no"}
    answers = {field: sorted({str(row[field]) for row in rows}) for field in WORDS}
    return {WORDS[field]: ", ".join(words.get(a, a) for a in values) for field, values in answers.items()}


def total(name: str, choices: Choices = Choices()) -> Sum:
    """Parameters and operations of a network at 112 x 112.

    Args:
        name: iresnet50, iresnet100, ressanet50 or ressanet100; for an IResNet `middle_norm` is all that matters.
        choices: what its builder decided.

    Returns:
        Parameters in the parts "positions", "depthwise" (of MBConv, with its BatchNorm), "prelu" and "other"; operations
        of the kinds "product" (multiply-adds of convolutions and linear layers), "depthwise" (those of MBConv's),
        "attention" (of q k^T and the weighted sum), "position" (of q r^T), "softmax", "norm", "prelu", "pool" and "bias"
        (elements).
    """
    result = Sum()
    result.conv(3, 64, 3, 112)
    result.norm(64, 112)
    result.prelu(64, 112)
    for stage, depth in enumerate(NETWORKS[name].depths, 1):
        kind = "ibasic" if stage == 1 or name.startswith("iresnet") else "se_ibasic_f" if stage < 4 else "ibt"
        result.add(block(kind, stage, True, choices))
        result.add(block(kind, stage, False, choices), depth - 1)
    result.norm(CHANNELS[4], SIZES[4])
    result.conv(CHANNELS[4] * SIZES[4] ** 2, EMBEDDING, 1, 1)
    result.parameters["other"] += EMBEDDING
    result.norm(EMBEDDING, 1)
    return result


def block(kind: str, stage: int, first: bool, choices: Choices) -> Sum:
    """One block of a stage; the first one changes channels and size."""
    s = Sum()
    inputs, outputs = CHANNELS[stage - first], CHANNELS[stage]
    before, after = SIZES[stage - first], SIZES[stage]
    middle = after if kind == "ibt" and choices.shrink == "convolution" else before
    if first and (choices.middle_norm or inputs != outputs):
        full = kind == "ibt" and choices.full_shortcut
        s.conv(inputs, outputs, 1, before if full else after)
        s.norm(outputs, before if full else after)
        s.operations["pool"] += full * outputs * after**2
    s.norm(inputs, before)
    s.conv(inputs, outputs, 3, middle)
    if choices.middle_norm:
        s.norm(outputs, middle)
    if kind == "se_ibasic_f":
        s.conv(outputs, outputs, 3, middle, groups=outputs, bias=choices.frelu_bias)
        s.norm(outputs, middle)
    else:
        s.prelu(outputs, middle)
    if kind == "ibt":
        attention(s, outputs, before if choices.shrink == "end" else after, choices)
        s.operations["pool"] += (first and choices.shrink != "convolution") * outputs * after**2
        s.norm(outputs, after)
        mbconv(s, outputs, after, choices)
    else:
        s.conv(outputs, outputs, 3, after)
        s.norm(outputs, after)
    if kind == "se_ibasic_f":
        s.se(outputs, outputs // choices.reduction, after, choices.se_bias)
    return s


def attention(s: Sum, channels: int, size: int, choices: Choices) -> None:
    """Attention over size x size positions in four heads."""
    s.conv(channels, 3 * channels, 1, size, bias=choices.attention_bias)
    if choices.attention_projection:
        s.conv(channels, channels, 1, size)
    s.parameters["positions"] += {
        "axes": channels * 2 * size,
        "relative": channels // 4 * 2 * (2 * size - 1),
        "table": channels * size**2,
        "none": 0,
    }[choices.positions]
    s.operations["attention"] += 2 * channels * size**4
    s.operations["position"] += (choices.positions != "none") * channels * size**4
    s.operations["softmax"] += 4 * size**4


def mbconv(s: Sum, channels: int, size: int, choices: Choices) -> None:
    """The inverted bottleneck."""
    hidden = channels * choices.expansion
    s.conv(channels, hidden, 1, size)
    s.norm(hidden, size)
    s.conv(hidden, hidden, 3, size, part="depthwise", groups=hidden)
    s.norm(hidden, size, part="depthwise")
    s.se(hidden, (channels if choices.se_from_input else hidden) // choices.reduction, size, choices.se_bias)
    s.conv(hidden, channels, 1, size)
    s.norm(channels, size)
