"""Class-semantics attention (CSA; Sridhar et al. 2021, arXiv:2109.02613) on BMN and on ActionFormer.

The paper puts it on BMN, between the base module and all that follows, computed from the network's input features.
There is no public code: what `tal.modules.class_semantics` calls ours is reconstruction, and so is its place in
ActionFormer: between the embedding and the transformer, before positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.bmn import Bmn
from tal.methods.bmn_config import BmnConfig
from tal.modules.class_semantics import SemanticAttention, SemanticsConfig


@dataclass(frozen=True, kw_only=True)
class CsaBmnConfig(BmnConfig):
    """Settings of a BMN with class-semantics attention.

    Args:
        semantics: Of the attention; its `grid` is not used: BMN's features have a fixed length.
    """

    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)


@dataclass(frozen=True, kw_only=True)
class CsaActionFormerConfig(ActionFormerConfig):
    """Settings of an ActionFormer with class-semantics attention.

    Args:
        semantics: Of the attention.
    """

    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)


class CsaBmn(Bmn):
    """BMN whose base features are weighed by what the input features say; without attention, BMN to the last bit.

    Args:
        config: With `streams`.
    """

    Config = CsaBmnConfig
    config: CsaBmnConfig

    def __init__(self, config: CsaBmnConfig) -> None:
        super().__init__(config)
        width = self.streams.width
        self.attention = _attention(width, config.width, config.semantics, config.train_snippets)

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C_in, T), mask (B, 1, T) -> (B, width, T)."""
        features = super().encode(x, mask)
        return features if self.attention is None else self.attention(x, features, mask)


class CsaActionFormer(ActionFormer):
    """ActionFormer whose embedding is weighed by what the input features say; without attention, ActionFormer exactly.

    Args:
        config: With `streams` and `classes`.
    """

    Config = CsaActionFormerConfig
    config: CsaActionFormerConfig

    def __init__(self, config: CsaActionFormerConfig) -> None:
        super().__init__(config)
        width = sum(config.streams[name] for name in self.streams.names)
        self.attention = _attention(width, config.width, config.semantics, None)

    def embedding(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Name -> (B, C, T), mask (B, 1, T) -> (B, width, T)."""
        features = super().embedding(streams, mask)
        if self.attention is None:
            return features
        standardize = self.streams.standardize
        semantics = torch.cat([standardize[name](streams[name], mask) for name in self.streams.names], dim=1)
        return self.attention(semantics, features, mask)


def _attention(in_width: int, width: int, config: SemanticsConfig, snippets: int | None) -> SemanticAttention | None:
    """Made after the host, whose initial weights are then those that it has without."""
    return None if config.attention == "none" else SemanticAttention(in_width, width, config, snippets=snippets)
