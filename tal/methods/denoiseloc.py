"""DenoiseLoc: moments are found by taking the noise off spans, step by step (Xu et al. 2024, arXiv:2304.02934).

Its task on QVHighlights: video and query text as one sequence through an encoder, saliency from its snippets, spans
that begin as noise and are refined by heads which look at what lies in them. Details as in frostinassiky/denoiseloc,
whose weights load through `tal.methods.originals`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tal.methods.base import Batch
from tal.methods.moments import MomentConfig, MomentMethod, MomentOutputs
from tal.modules.refinement import HeadShape, RefinementConfig, SpanRefiner
from tal.modules.transformer import DetrEncoder, Wavelengths
from tal.ops.matching import MatchWeights

OUTPUTS = 2
"""Class logits of a span: foreground, background."""


@dataclass(frozen=True, kw_only=True)
class DenoiseLocConfig(MomentConfig):
    """DenoiseLoc's settings; see MomentConfig for those that it shares. `decoder_layers` are the refinement heads.

    Args:
        refinement: How spans begin, and how they are refined.
        rois_see_text: A span that reaches past the batch's longest video looks at the tokens of the query, which follow
            the snippets in the encoder's memory, and one past its own video at padding: what the original does. False:
            a video's last snippet goes on for one more, then there are zeros.
        wavelengths: Of the snippets' positions, see `SinePositions`; "equal" is what the original computes.
    """

    encoder_layers: int = 8
    decoder_layers: int = 8
    queries: int = 30
    match: MatchWeights = field(default_factory=lambda: MatchWeights(span=10.0, giou=1.3, label=2.0))
    giou_weight: float = 1.3
    label_weight: float = 2.0
    nms_tiou: float | None = 0.8
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    rois_see_text: bool = True
    wavelengths: Wavelengths = "equal"


class DenoiseLoc(MomentMethod):
    """Encoder and refinement heads.

    The initial weights are drawn as the original's, but for the encoder's layers, which begin as copies of one there.

    Args:
        config: With `streams` and `text_width`.
    """

    Config = DenoiseLocConfig
    config: DenoiseLocConfig

    def __init__(self, config: DenoiseLocConfig) -> None:
        self.wavelengths = config.wavelengths
        super().__init__(config)
        c = config
        self.encoder = DetrEncoder(
            c.width, layers=c.encoder_layers, heads=c.heads, hidden=c.hidden, dropout=c.dropout, pre_norm=c.pre_norm
        )
        shape = HeadShape(width=c.width, outputs=OUTPUTS, heads=c.heads, hidden=c.hidden, dropout=c.dropout)
        self.refine = SpanRefiner(c.refinement, shape, layers=c.decoder_layers, queries=c.queries)

    def forward(self, batch: Batch) -> MomentOutputs:
        """What every head says of every span; in training spans begin with the blurred ground truth."""
        truth = None if batch.targets is None else self.targets(batch)
        return self.predicted(batch, self.refine.first(batch.mask.shape[0], truth))

    def predicted(self, batch: Batch, first: Tensor) -> MomentOutputs:
        """What every head says of spans that begin as given.

        Args:
            batch: Videos with their queries.
            first: (B, Q, 2) centre and width, in fractions of the video.
        """
        tokens, positions, mask, snippets = self.sequence(batch)
        memory = self.encoder(tokens, positions, mask)  # (B, T + L, C)
        counts = mask[:, :snippets].sum(1)
        if self.config.rois_see_text:
            found = self.refine(memory, counts, first)
        else:
            found = self.refine(memory[:, :snippets], counts, first, lengths=counts)
        return MomentOutputs(
            logits=found.logits,
            spans=found.spans,
            saliency=self.saliency(memory[:, :snippets])[..., 0],
            memory=memory,
        )
