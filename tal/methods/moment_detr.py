"""Moment-DETR: learned queries find moments in the encoded video and text (Lei, Berg, Bansal 2021, arXiv:2107.09609).

Reference implementation: jayleicn/moment_detr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from tal.methods.base import Batch
from tal.methods.moments import MomentConfig, MomentMethod, MomentOutputs
from tal.methods.pyramid_config import require
from tal.modules.span_losses import alignment_loss
from tal.modules.transformer import DetrDecoder, DetrEncoder, xavier
from tal.ops.matching import Matches


@dataclass(frozen=True, kw_only=True)
class MomentDetrConfig(MomentConfig):
    """Moment-DETR's settings; see MomentConfig for those that it shares.

    Args:
        span_loss: "l1": centre and width are regressed; "bins": first and last snippet are classified among
            `train_snippets`.
        alignment: Matched predictions are drawn to the text (a noise-contrastive loss).
        alignment_width: C of the space in which they are compared.
        alignment_weight: Of that loss.
        temperature: Of its softmax.
    """

    span_loss: Literal["l1", "bins"] = "l1"
    alignment: bool = False
    alignment_width: int = 64
    alignment_weight: float = 0.02
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.span_loss in ("l1", "bins"), f"span_loss {self.span_loss!r}", '"l1" or "bins"')
        require(self.alignment_width >= 1, f"alignment_width of {self.alignment_width}", "at least 1")
        require(self.alignment_weight >= 0, f"alignment_weight of {self.alignment_weight}", "zero or more")
        require(self.temperature > 0, f"temperature of {self.temperature}", "a positive number")


class MomentDetr(MomentMethod):
    """Encoder, decoder and heads.

    Args:
        config: With `streams` and `text_width`.
    """

    Config = MomentDetrConfig
    config: MomentDetrConfig

    def __init__(self, config: MomentDetrConfig) -> None:
        super().__init__(config)
        c = config
        self.encoder, self.decoder = (
            part(c.width, layers=layers, heads=c.heads, hidden=c.hidden, dropout=c.dropout, pre_norm=c.pre_norm)
            for part, layers in ((DetrEncoder, c.encoder_layers), (DetrDecoder, c.decoder_layers))
        )
        xavier(self.encoder)
        xavier(self.decoder)
        self.queries = nn.Embedding(c.queries, c.width)
        self.label = nn.Linear(c.width, 2)
        outputs = 2 if c.span_loss == "l1" else 2 * c.train_snippets
        self.span = nn.Sequential(
            *(nn.Linear(c.width, c.width), nn.ReLU(), nn.Linear(c.width, c.width), nn.ReLU()),
            nn.Linear(c.width, outputs),
        )
        if c.alignment:
            self.align_queries = nn.Linear(c.width, c.alignment_width)
            self.align_text = nn.Linear(c.width, c.alignment_width)
            self.align_video = nn.Linear(c.width, c.alignment_width)

    def forward(self, batch: Batch) -> MomentOutputs:
        """What every decoder layer predicts."""
        tokens, positions, mask, snippets = self.sequence(batch)
        memory = self.encoder(tokens, positions, mask)  # (B, T + L, C)
        states = self.decoder(self.queries.weight, memory, positions, mask)  # (layers, B, Q, C)
        spans = self.span(states)
        spans = spans.sigmoid() if self.config.span_loss == "l1" else spans.unflatten(-1, (2, -1))
        return MomentOutputs(
            logits=self.label(states).unbind(),
            spans=spans.unbind(),
            saliency=self.saliency(memory[:, :snippets])[..., 0],
            memory=memory,
            states=states,
        )

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Part of the loss -> its weight."""
        return {**super().loss_weights, "alignment": self.config.alignment_weight}

    def further_losses(self, outputs: MomentOutputs, layer: int, matches: Matches) -> dict[str, Tensor]:
        """The alignment of queries and text, where it is on."""
        if not self.config.alignment:
            return {}
        queries, text, _ = self.aligned(outputs, layer)
        return {"alignment": alignment_loss(queries, text, matches, temperature=self.config.temperature)}

    def aligned(self, outputs: MomentOutputs, layer: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of a layer (B, Q, E), tokens (B, L, E) and snippets (B, T, E), of unit length, in one space.

        No loss compares the snippets, in the original neither.
        """
        assert outputs.states is not None
        snippets = outputs.saliency.shape[1]
        parts = (
            self.align_queries(outputs.states[layer]),
            self.align_text(outputs.memory[:, snippets:]),
            self.align_video(outputs.memory[:, :snippets]),
        )
        queries, text, video = (F.normalize(part, dim=-1) for part in parts)
        return queries, text, video
