"""A network and its loss as one module, and what of its parameters decays."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.losses import create_loss, twin_distance
from maskfr_utils.models import create_model
from maskfr_utils.models.given import start_from
from maskfr_utils.models.networks import shrink_depthwise
from maskfr_utils.partial import PartialLoss


def make_backbone(config: TrainConfig) -> nn.Module:
    """The network of a run as it begins: with fresh weights, or with those that it is given.

    Raises:
        ConfigError: the weights cannot be read, or are of another network.
    """
    backbone = create_model(
        config.model, width=config.width, embedding_dim=config.embedding_dim, dropout=config.dropout
    )
    if config.depthwise_fan == "layer":
        shrink_depthwise(backbone)
    if config.weights is not None:
        try:
            start_from(backbone, config.weights)
        except (OSError, ValueError) as error:
            raise ConfigError(str(error)) from None
    return backbone


class Recogniser(nn.Module):
    """A network and its loss as one module, so that both train, scale over devices and are saved together.

    Attributes:
        compiled: the network's compiled twin, which computes by the same weights and trains in its place; or none. Tests
            come in other batch sizes, for each of which it would be compiled anew.
        at_rest: the network stays as it is, and only the classes are trained.
    """

    compiled: Callable[[Tensor], Tensor] | None = None
    at_rest = False

    def __init__(self, config: TrainConfig, num_classes: int):
        super().__init__()
        self.backbone = make_backbone(config)
        given = {name: value for name in ("scale", "margin") if (value := getattr(config, name)) is not None}
        self.head = create_loss(config.loss, config.embedding_dim, num_classes, **given)
        if config.class_rate < 1:
            self.head = PartialLoss(self.head, config.class_rate)
        self.twin_weight = config.twin_weight

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the number of pictures that are named rightly (among the identities that the loss draws).

        With a twin term the batch is twins, as `TwinDataset` has them.
        """
        network = self.compiled if self.training and self.compiled and not self.at_rest else self.backbone
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.at_rest):
            embeddings = network(images)
        loss = self.head(embeddings, labels)
        if isinstance(self.head, PartialLoss):
            hits = self.head.hits
        else:
            with torch.no_grad():
                hits = (self.head.logits(embeddings).argmax(1) == labels).sum()
        if self.twin_weight:
            loss = loss + self.twin_weight * twin_distance(embeddings)
        return loss, hits

    def rest(self, at_rest: bool) -> None:
        """Puts the network to rest, its statistics too, or has it trained again; call it after `train`."""
        self.at_rest = at_rest
        self.backbone.train(self.training and not at_rest)

    def groups(self, weight_decay: float, decay: str) -> list[dict]:
        """Parameter groups of the optimiser: what decays, and what does not.

        Norms, slopes, position terms and the network's biases have no scale that decay would keep in bounds.

        Args:
            weight_decay: of those that decay.
            decay: `weights`, of convolutions, linear layers and classes; or `all`.
        """
        layers = [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        weights = {id(layer.weight) for layer in layers} | {id(p) for p in self.head.parameters()}
        parameters = [p for p in self.parameters() if p.requires_grad]
        decaying = [p for p in parameters if decay == "all" or id(p) in weights]
        others = [p for p in parameters if decay != "all" and id(p) not in weights]
        groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]
