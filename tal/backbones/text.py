"""Text towers: sentences in, vectors out that lie in one space with those of the image tower of the same model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tal.backbones.hub import quick_hub
from tal.backbones.openclip import identified, whole_model
from tal.backbones.weights import downloading, hash_of, quiet
from tal.errors import TalError

_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """What decides a text tower's numbers.

    Args:
        name: As for the image tower, e.g. "open_clip:ViT-B-16/laion2b_s34b_b88k".
        weights, weights_hash: See `tal.backbones.base.BackboneSpec`; the hash is of the text tower alone.
        width: C, that of the image tower's vectors.
        context: Tokens that a sentence may have, the marks of its ends included; what is longer is cut.
        scale: Factor of cosine similarities in the model's own softmax over sentences.
    """

    name: str
    weights: str
    weights_hash: str
    width: int
    context: int
    scale: float


class TextEncoder(nn.Module):
    """A text tower with its tokenizer.

    Args:
        network: A model of open_clip, without its image tower.
        tokenizer: Its own.
        spec: What it is.
    """

    def __init__(self, network: Any, tokenizer: Any, spec: TextSpec) -> None:
        super().__init__()
        self.network, self.tokenizer, self.spec = network, tokenizer, spec

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors of sentences, not normalised, as the image tower's are not.

        Args:
            texts: N sentences.

        Returns:
            (N, C) float32 on the encoder's device.

        Raises:
            TalError: one string in place of a list.
        """
        if isinstance(texts, str):
            raise TalError(f"the text {texts!r:.60}", expected="a list of texts", todo=f"give [{texts!r:.60}]")
        device = next(self.network.parameters()).device
        if not texts:
            return torch.zeros(0, self.spec.width, device=device)
        parts = [list(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)]
        return torch.cat([self.network.encode_text(self.tokenizer(part).to(device)).float() for part in parts])

    @torch.inference_mode()
    def encode_tokens(self, texts: Sequence[str]) -> list[Tensor]:
        """A vector per token, from the text tower's last layer and its final norm, before the joint space.

        What is read of a sentence are its marks of beginning and end and what stands between; towers that are trained
        with their padding give all places.

        Args:
            texts: N sentences.

        Returns:
            N tensors (L, C) float32 on the CPU.

        Raises:
            TalError: a text tower without such a norm.
        """
        from open_clip.tokenizer import SimpleTokenizer

        tower = getattr(self.network, "text", self.network)
        if not isinstance(getattr(tower, "ln_final", None), nn.Module):
            raise TalError(f"{self.spec.name}: a text tower without tokens to take", expected="a tower such as CLIP's")
        seen: list[Tensor] = []
        hook = tower.ln_final.register_forward_hook(lambda module, given, states: seen.append(states))
        found: list[Tensor] = []
        device = next(self.network.parameters()).device
        try:
            for first in range(0, len(texts), _AT_ONCE):
                ids = self.tokenizer(list(texts[first : first + _AT_ONCE])).to(device)
                self.network.encode_text(ids)
                valid = ids != 0 if isinstance(self.tokenizer, SimpleTokenizer) else torch.ones_like(ids)
                lengths = valid.sum(1).tolist()
                found += [row[:length].float().cpu() for row, length in zip(seen.pop(), lengths, strict=True)]
        finally:
            hook.remove()
        return found


def load_text_encoder(name: str, *, weights: Path | str | None = None, device: str = "cpu") -> TextEncoder:
    """Build a text tower in inference mode.

    Args:
        name: "open_clip:MODEL/PRETRAINED", the name of the image tower whose vectors it is compared with.
        weights: Those of the whole model, as in `tal.backbones.load_backbone`.
        device: Where it runs.

    Raises:
        TalError: no such model, weights that cannot be loaded, or a tokenizer that cannot be fetched.
    """
    family, _, model = name.partition(":")
    if family != "open_clip":
        raise TalError(f"text tower {name!r}", expected="open_clip:MODEL/PRETRAINED", cause="a backbone without text")
    import open_clip

    architecture, tag, full = identified(model, weights)
    network, source = whole_model(architecture, tag, full, weights)
    with downloading(full), quick_hub(), quiet():
        tokenizer = open_clip.get_tokenizer(architecture)
    network.visual = nn.Identity()
    network = network.eval().requires_grad_(False)
    with torch.inference_mode():
        width = network.encode_text(tokenizer(["a"])).shape[-1]
    spec = TextSpec(
        name=full,
        weights=source,
        weights_hash=hash_of(network),
        width=int(width),
        context=int(tokenizer.context_length),
        scale=float(network.logit_scale.exp()),
    )
    return TextEncoder(network, tokenizer, spec).eval().to(device)
