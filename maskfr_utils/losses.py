"""Classification losses for embeddings, behind one interface.

`loss(embeddings, labels)` is the mean loss, a scalar; `loss.logits(embeddings)` scores every identity without a margin,
for prediction. Embeddings are (N, embedding_dim) in any floating dtype, labels (N,) int64. `margin_share` is a plain
attribute that may be changed between steps: the part of the margin in force, from 0 (none) to 1 (the whole). A margin
that grows from none helps networks that start slowly.

Everything is computed in float32 at least, also under autocast: a cosine near 1 has no digits to spare. t_j is the angle
between an embedding x and the weight w_j of identity j, y the true identity, and every loss is the cross entropy
-log(e^{z_y} / sum_j e^{z_j}) of its own logits z.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfr_utils.names import LOSSES, unknown


class CosineLoss(nn.Module):
    """Softmax of scaled cosines, z_j = s cos t_j, whose subclasses make the true identity's logit harder to raise.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s, the factor on the cosines, above 0.
        margin: m; its meaning is the subclass's.

    Raises:
        ValueError: a number of identities, a scale or a margin out of range.
    """

    MARGINS = (0.0, math.pi)  # least and most

    def __init__(self, embedding_dim: int, num_classes: int, scale: float, margin: float):
        super().__init__()
        if num_classes < 1 or embedding_dim < 1:
            raise ValueError(f"{num_classes} classes of {embedding_dim} dimensions: at least 1 of each")
        if scale is None or not 0 < scale < math.inf:
            raise ValueError(f"scale {scale}: a finite factor above 0, such as 64")
        low, high = self.MARGINS
        if not low <= margin <= high or margin == math.inf:
            raise ValueError(f"margin {margin}: from {low:g} to {high:.6g} for {type(self).__name__}")
        self.scale = scale
        self.margin = margin
        self.margin_share = 1.0
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.normal_(self.weight, std=0.01)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """cos t_j for each embedding and identity, (N, num_classes)."""
        return F.linear(F.normalize(embeddings), F.normalize(self.weight.to(embeddings.dtype)))

    def factor(self, embeddings: Tensor) -> Tensor | float:
        """s."""
        return self.scale

    def logits(self, embeddings: Tensor) -> Tensor:
        """Scores without margin, (N, num_classes), float32 at least: the largest names the predicted identity."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = at_least_float32(embeddings)
            return self.factor(embeddings) * self.cosines(embeddings)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss, a scalar in float32 at least."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compute(at_least_float32(embeddings), labels)

    def compute(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """`forward`, outside autocast and with embeddings in float32 at least."""
        cosines = self.cosines(embeddings)
        target = self.with_margin(cosines.gather(1, labels[:, None]))
        return F.cross_entropy(self.factor(embeddings) * cosines.scatter(1, labels[:, None], target), labels)

    def with_margin(self, cosine: Tensor) -> Tensor:
        """What stands in place of cos t_y, (N, 1), given cos t_y."""
        raise NotImplementedError


class ArcFace(CosineLoss):
    """Additive angular margin: z_y = s cos(t_y + m), z_j = s cos t_j.

    cos(t + m) would rise again where t > pi - m; from there on cos t - m sin m takes over, which lies lower by cos m +
    m sin m - 1 and falls as far as pi (for m up to 2.33; a larger one lets it begin higher). The gradient is that of this
    function. The field's most used implementation takes the margin out of the gradient, d z_y / d cos t_y = s:
    `straight_through=True` does so. The values are the same up to t = pi - m; beyond, that implementation's newer version
    has no fall-back and lets cos(t + m) rise again (t = 3, s = 64, m = 0.5: -59.9 there, -78.7 here).

    Source: Deng et al., "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019, eq. 3.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s.
        margin: m in radians, up to pi.
        straight_through: leave the margin out of the gradient.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 0.5,
        straight_through: bool = False,
    ):
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.straight_through = straight_through

    def with_margin(self, cosine: Tensor) -> Tensor:
        target = turn(cosine, self.margin_share * self.margin)
        return cosine + (target - cosine).detach() if self.straight_through else target


class CosFace(CosineLoss):
    """Additive cosine margin: z_y = s (cos t_y - m), z_j = s cos t_j.

    Source: Wang et al., "CosFace: large margin cosine loss for deep face recognition", CVPR 2018, eq. 4.
    """

    def __init__(self, embedding_dim: int, num_classes: int, scale: float = 64.0, margin: float = 0.35):
        super().__init__(embedding_dim, num_classes, scale, margin)

    def with_margin(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin_share * self.margin


class SphereFace(CosineLoss):
    """Multiplicative angular margin: z_y = s psi(m t_y), z_j = s cos t_j, with psi(u) = (-1)^k cos u - 2k for u in
    [k pi, (k + 1) pi].

    Source: Liu et al., "SphereFace: deep hypersphere embedding for face recognition", CVPR 2017, eq. 7.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s; None takes the length of each embedding, as the paper does.
        margin: m, any factor from 1, which is no margin.
    """

    MARGINS = (1.0, math.inf)

    def __init__(self, embedding_dim: int, num_classes: int, scale: float | None = None, margin: float = 4.0):
        super().__init__(embedding_dim, num_classes, 1.0 if scale is None else scale, margin)
        self.scale = scale

    def factor(self, embeddings: Tensor) -> Tensor | float:
        """s, or the length of each embedding (N, 1)."""
        return embeddings.norm(dim=1, keepdim=True) if self.scale is None else self.scale

    def with_margin(self, cosine: Tensor) -> Tensor:
        return falling_cosine((1 + self.margin_share * (self.margin - 1)) * angle(cosine))


class CombinedMargin(CosineLoss):
    """The three margins at once: z_y = s (psi(m1 t_y + m) - m3), z_j = s cos t_j, with psi as in `SphereFace`.

    Source: Deng et al., "ArcFace", CVPR 2019, eq. 4, which has the cosine for psi; both are the same up to pi.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s.
        margin: m, the paper's m2, added to the angle, in radians.
        multiplier: m1, the factor on the angle.
        drop: m3, taken from the cosine.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 0.3,
        multiplier: float = 1.0,
        drop: float = 0.2,
    ):
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.multiplier = multiplier
        self.drop = drop

    def with_margin(self, cosine: Tensor) -> Tensor:
        share = self.margin_share
        turned = (1 + share * (self.multiplier - 1)) * angle(cosine) + share * self.margin
        return falling_cosine(turned) - share * self.drop


class SubCenterArcFace(ArcFace):
    """ArcFace in which an identity has several centres, and the nearest one counts: cos t_j = max_k cos t_jk.

    Pictures with a wrong label, or another look, gather at a centre of their own.

    Source: Deng et al., "Sub-center ArcFace", ECCV 2020, eq. 3.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s.
        margin: m in radians.
        centers: centres of each identity; the weight is (num_classes, centers, embedding_dim).
    """

    def __init__(
        self, embedding_dim: int, num_classes: int, scale: float = 64.0, margin: float = 0.5, centers: int = 3
    ):
        if centers < 1:
            raise ValueError(f"centers {centers}: at least 1")
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.weight = nn.Parameter(torch.empty(num_classes, centers, embedding_dim))
        nn.init.normal_(self.weight, std=0.01)

    def cosines(self, embeddings: Tensor) -> Tensor:
        weight = F.normalize(self.weight.to(embeddings.dtype), dim=2)
        return F.linear(F.normalize(embeddings), weight.flatten(0, 1)).unflatten(1, weight.shape[:2]).amax(2)


class CurricularFace(CosineLoss):
    """ArcFace that gives hard negatives more weight as training goes on.

    z_y = s cos(t_y + m) as in `ArcFace`; a negative with cos t_j > cos(t_y + m) becomes z_j = s cos t_j (t + cos t_j),
    the others stay s cos t_j. t follows the mean of cos t_y with a momentum of 0.99 while the module trains, so that
    hard negatives count less than easy ones at first.

    Source: Huang et al., "CurricularFace: adaptive curriculum learning loss for deep face recognition", CVPR 2020,
    eqs. 5 to 7.
    """

    def __init__(self, embedding_dim: int, num_classes: int, scale: float = 64.0, margin: float = 0.5):
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.register_buffer("t", torch.zeros(()))

    def compute(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosines = self.cosines(embeddings)
        true = cosines.gather(1, labels[:, None])
        target = turn(true, self.margin_share * self.margin)
        if self.training:
            with torch.no_grad():
                self.t.lerp_(true.mean().to(self.t.dtype), 0.01)
        modulated = torch.where(cosines > target, cosines * (self.t + cosines), cosines)
        return F.cross_entropy(self.scale * modulated.scatter(1, labels[:, None], target), labels)


class MagFace(CosineLoss):
    """ArcFace whose margin grows with the length of the embedding, which thereby comes to measure a face's quality.

    With a the length of x, held within [10, 110]: z_y = s cos(t_y + m(a)), m(a) linear from `low` m at 10 to m at 110;
    to the cross entropy comes lambda g(a), g(a) = a / 110^2 + 1 / a, which rewards length.

    Source: Meng et al., "MagFace: a universal representation for face recognition and quality assessment", CVPR 2021,
    eqs. 3 to 5.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s.
        margin: m, the largest margin, in radians.
        low: the smallest margin as a share of the largest.
        regularisation: lambda.
    """

    SHORTEST, LONGEST = 10.0, 110.0

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 0.8,
        low: float = 0.5625,
        regularisation: float = 35.0,
    ):
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.low = low
        self.regularisation = regularisation

    def compute(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosines = self.cosines(embeddings)
        length = embeddings.norm(dim=1, keepdim=True).clamp(self.SHORTEST, self.LONGEST)
        share = self.low + (1 - self.low) * (length - self.SHORTEST) / (self.LONGEST - self.SHORTEST)
        target = turn(cosines.gather(1, labels[:, None]), self.margin_share * self.margin * share)
        penalty = (length / self.LONGEST**2 + 1 / length).mean()
        classification = F.cross_entropy(self.scale * cosines.scatter(1, labels[:, None], target), labels)
        return classification + self.regularisation * penalty


class AdaFace(CosineLoss):
    """A margin that trusts the length of an embedding to tell a picture's quality: good pictures are pulled hardest where
    they are hard, poor ones where they are easy.

    With a the length of x, q = (a - mean) / std * h within [-1, 1], no gradient through it: z_y = s (cos(t_y - m q) - m -
    m q). Mean and standard deviation of the lengths follow those of the batches, by a hundredth at each; the first batch
    sets them.

    Source: Kim et al., "AdaFace: quality adaptive margin for face recognition", CVPR 2022, eqs. 9 to 12.

    Args:
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        scale: s.
        margin: m, in radians and as a drop of the cosine.
        concentration: h.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
    ):
        super().__init__(embedding_dim, num_classes, scale, margin)
        self.concentration = concentration
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.zeros(()))  # 0: no batch yet

    def compute(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosines, length = self.cosines(embeddings), embeddings.detach().norm(dim=1, keepdim=True).clamp(1e-3, 100)
        if self.training:
            with torch.no_grad():
                share = torch.where(self.std > 0, 0.01, 1.0).to(self.std.dtype)
                self.mean.lerp_(length.mean().to(self.mean.dtype), share)
                self.std.lerp_(length.std(correction=0).to(self.std.dtype) + 1e-3, share)
        quality = ((length - self.mean) / self.std.clamp_min(1e-3) * self.concentration).clamp(-1, 1)
        margin = self.margin_share * self.margin
        turned = (angle(cosines.gather(1, labels[:, None])) - margin * quality).clamp(0, math.pi).cos()
        target = turned - margin * (1 + quality)
        return F.cross_entropy(self.scale * cosines.scatter(1, labels[:, None], target), labels)


class Softmax(nn.Module):
    """Plain softmax: z_j = w_j x + b_j. `scale` and `margin` are taken, so that every loss is made alike, and unused."""

    margin_share = 1.0

    def __init__(self, embedding_dim: int, num_classes: int, scale: float | None = None, margin: float | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.normal_(self.weight, std=0.01)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Scores (N, num_classes), float32 at least: the largest names the predicted identity."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = at_least_float32(embeddings)
            return F.linear(embeddings, self.weight.to(embeddings.dtype), self.bias.to(embeddings.dtype))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss, a scalar in float32 at least."""
        return F.cross_entropy(self.logits(embeddings), labels)


class LegacyArcFace(Softmax):
    """What the code behind the report trained with: ArcFace's formula on numbers that are no cosines.

    The scores w_j x + b_j are divided by their length over the identities, c_j = z_j / |z|; then z_y = s cos(acos c_y +
    m), z_j = s c_j. Neither x nor w_j is normalised, so no angle between an embedding and an identity is involved.

    Source: the public repository shiyuhu1933/ResSaNet, read as a description; s = 45 and m = 0.1 are its values.
    """

    def __init__(self, embedding_dim: int, num_classes: int, scale: float = 45.0, margin: float = 0.1):
        super().__init__(embedding_dim, num_classes)
        self.scale = scale
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss, a scalar in float32 at least."""
        with torch.autocast(embeddings.device.type, enabled=False):
            scores = F.normalize(self.logits(embeddings))
            target = turn(scores.gather(1, labels[:, None]), self.margin_share * self.margin)
            return F.cross_entropy(self.scale * scores.scatter(1, labels[:, None], target), labels)


def twin_distance(embeddings: Tensor) -> Tensor:
    """Mean of 1 - cosine over the two embeddings of each photo, a scalar in float32 at least, from 0 to 2.

    Args:
        embeddings: (2n, embedding_dim); row i and row n + i are of the twins of photo i.
    """
    one, other = at_least_float32(embeddings).chunk(2)
    return (1 - F.cosine_similarity(one, other)).mean()


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, half precision widened to float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sine(cosine: Tensor) -> Tensor:
    """sin t from cos t, with a derivative that stays finite at 0 and pi.

    The floor moves the value by less than the rounding of the cosine does.
    """
    return (1 - cosine.square()).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()


def angle(cosine: Tensor) -> Tensor:
    """t from cos t, with a derivative that stays finite at 0 and pi."""
    return torch.atan2(sine(cosine), cosine)


def turn(cosine: Tensor, margin: float | Tensor) -> Tensor:
    """cos(t + m) from cos t, and cos t - m sin m where t > pi - m; m in [0, pi]."""
    margin = torch.as_tensor(margin, dtype=cosine.dtype)
    turned = cosine * margin.cos() - sine(cosine) * margin.sin()
    return torch.where(cosine > -margin.cos(), turned, cosine - margin * margin.sin())


def falling_cosine(u: Tensor) -> Tensor:
    """(-1)^k cos u - 2k for u in [k pi, (k + 1) pi]: the cosine as far as pi, continued so that it keeps falling."""
    k = (u.detach() / math.pi).floor()
    return (1 - 2 * (k % 2)) * u.cos() - 2 * k


def create_loss(name: str, embedding_dim: int, num_classes: int, **arguments: float) -> nn.Module:
    """Build a loss by name.

    Args:
        name: one of `names.LOSSES`.
        embedding_dim: length of an embedding.
        num_classes: number of identities.
        arguments: the loss's own, such as `scale` and `margin`; what is left out has the value that its paper gives.

    Raises:
        ValueError: an unknown name, or a value out of range.
    """
    if name not in LOSSES:
        raise ValueError(unknown("loss", name, LOSSES))
    kind, own = LOSSES[name]
    return globals()[kind](embedding_dim, num_classes, **own, **arguments)
