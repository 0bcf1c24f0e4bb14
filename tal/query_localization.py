"""A video, sentences and a model package -> the moments that answer each, and how salient every snippet is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tal.annotations.moment_results import Query
from tal.errors import FeatureError, PackageError
from tal.features.text import TextFolder
from tal.localization import Localizer, Sources
from tal.methods.answers import Answer
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.methods.windows import WHOLE_SNIPPETS, windows_of
from tal.package import Package

if TYPE_CHECKING:
    from tal.backbones.text import TextEncoder

_LOG = logging.getLogger(__name__)

_AT_ONCE = 32


class QueryLocalizer:
    """A package that answers queries, made ready for many videos.

    Args:
        package: The model.
        text: Token features of the queries; None: made by the text tower that the model was trained on.
        sources, weights: Of the videos' features, see `tal.localization.Localizer`.
        text_weights: Local file of the text tower's weights, for features that were made with one.

    Raises:
        PackageError: a model that answers no queries.
        FeatureError: features of video or text other than those that the model was trained on.
        TalError: a backbone that cannot be built here.
    """

    def __init__(
        self,
        package: Package,
        *,
        text: TextFolder | None = None,
        sources: Sources | None = None,
        weights: Mapping[str, Path] | None = None,
        text_weights: Path | None = None,
    ) -> None:
        check_answers(package)
        self.package = package
        self._localizer = Localizer(package, sources=sources, weights=weights)
        self._device = next(package.model.parameters()).device
        self._text = text
        self._encoder = None if text is not None else _encoder_of(package, str(self._device), text_weights)
        if text is not None:
            _check_same(package, text)

    @torch.no_grad()
    def answer(
        self,
        video: str,
        queries: Sequence[Query],
        path: Path | None = None,
        *,
        duration_s: float | None = None,
    ) -> list[Answer]:
        """The moments of one video that answer each query, by falling score, with the saliency of its snippets.

        Args:
            video: The id.
            queries: What is asked of it.
            path: The file that features are made from, or that stored features are held against.
            duration_s: Of the video, where folders of features do not know it.

        Raises:
            VideoError, FeatureError, GridError: of this video, or of the text.
        """
        inputs = self.package.model.inputs
        stream = self._localizer.stream(video, path, duration_s=duration_s)
        sample = next(windows_of(stream, inputs, whole=max(WHOLE_SNIPPETS, inputs.train_snippets))).sample
        if sample.grid.count > inputs.train_snippets:
            read_s = sample.grid.slice(0, inputs.train_snippets).end_s
            _LOG.warning("%s: only the first %.0f s are read, as long as videos in training were", video, read_s)
        answers: list[Answer] = []
        for first in range(0, len(queries), _AT_ONCE):
            answers += self._answers(self._asked(sample, queries[first : first + _AT_ONCE]))
        return answers

    def _answers(self, asked: Sequence[Sample]) -> list[Answer]:
        """Queries of as many tokens are asked together: what DenoiseLoc says depends on how far a query is padded."""
        model = self.package.model
        lengths = [0 if each.text is None else min(len(each.text), model.inputs.text_tokens) for each in asked]
        found: dict[int, Answer] = {}
        for length in set(lengths):
            rows = [row for row, own in enumerate(lengths) if own == length]
            batch = collate([asked[row] for row in rows], model.inputs, train=False)
            predicted = model.predict(batch.to(self._device))
            found |= {row: each for row, each in zip(rows, predicted, strict=True) if isinstance(each, Answer)}
        return [found[row] for row in sorted(found)]

    def _asked(self, sample: Sample, queries: Sequence[Query]) -> list[Sample]:
        return [replace(sample, query=q, text=text) for q, text in zip(queries, self._tokens(queries), strict=True)]

    def _tokens(self, queries: Sequence[Query]) -> list[Tensor]:
        if self._text is not None:
            return [torch.from_numpy(self._text.load(query)) for query in queries]
        dtype = torch.float16 if self.package.text is not None and self.package.text.dtype == "float16" else None
        tokens = self._encoder.encode_tokens([query.text for query in queries]) if self._encoder else []
        return [each.to(dtype).float() for each in tokens]  # rounded as stored features are


def check_answers(package: Package) -> None:
    """Refuse a model that answers no queries.

    Raises:
        PackageError: it detects classes.
    """
    if package.text is None:
        raise PackageError(
            f"{package.folder}: {package.method} detects classes and answers no queries",
            expected="a model of a method such as moment_detr",
            todo="leave --queries out",
        )


def _encoder_of(package: Package, device: str, weights: Path | None) -> TextEncoder:
    """The text tower that the package's text features are from."""
    from tal.backbones.text import load_text_encoder

    spec = package.text
    if spec is None or spec.transform.get("text") != "tokens":
        raise FeatureError(
            f"the model reads text features {'' if spec is None else spec.backbone!r}, which no text tower here makes",
            expected="a folder of such features",
            cause="it was trained on text features that others made",
            todo="give --text FOLDER",
        )
    known = {"": None, "random": "random"}
    if weights is None and spec.weights == "file":
        raise FeatureError(
            f"the text features were made by {spec.backbone} with weights from a local file",
            expected="that file again",
            todo="give --weights text=FILE, or --text FOLDER",
        )
    encoder = load_text_encoder(spec.backbone, weights=known.get(spec.weights, weights), device=device)
    if spec.weights_hash and encoder.spec.weights_hash != spec.weights_hash:
        raise FeatureError(
            f"{spec.backbone} with other weights than those that made the text features",
            expected=f"weights with hash {spec.weights_hash}, not {encoder.spec.weights_hash}",
        )
    return encoder


def _check_same(package: Package, text: TextFolder) -> None:
    differences = package.text.differences(text.spec) if package.text is not None else {}
    if differences:
        told = "; ".join(f"{name}: {theirs!r}, the model's {ours!r}" for name, (ours, theirs) in differences.items())
        raise FeatureError(
            f"{text.folder} holds text features other than those that the model was trained on: {told}",
            todo="make them with tal extract --text and the model's own text tower",
        )
