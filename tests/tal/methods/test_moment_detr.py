"""Moment-DETR's switches, its inputs and its way from fractions of a video to seconds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.annotations.moment_results import Query
from tal.errors import ConfigError
from tal.methods.answers import moment_table
from tal.methods.base import Batch
from tal.methods.moment_detr import MomentDetr, MomentDetrConfig
from tal.methods.moments import read_span_s
from tal.segments import Segments
from tal.timeline import SnippetGrid

SMALL = {"streams": {"a": 3, "b": 4}, "text_width": 5, "width": 16, "heads": 2, "hidden": 24, "train_snippets": 12}


def _model(**changes):
    torch.manual_seed(0)
    return MomentDetr(MomentDetrConfig(**{**SMALL, "dropout": 0.0, "input_dropout": 0.0, **changes}))


def _batch(lengths=(12, 7), tokens=(4, 2), stride_s=2.0):
    generator = torch.Generator().manual_seed(1)
    T, L = max(lengths), max(tokens)
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    text_mask = torch.arange(L) < torch.tensor(tokens)[:, None]
    widths = SMALL["streams"].items()
    streams = {name: torch.randn(len(lengths), width, T, generator=generator) for name, width in widths}
    text = torch.randn(len(lengths), L, 5, generator=generator)
    return Batch(
        streams={name: x * mask[:, None] for name, x in streams.items()},
        mask=mask[:, None],
        grids=tuple(SnippetGrid(stride_s=stride_s, window_s=stride_s, count=count) for count in lengths),
        durations_s=tuple(count * stride_s for count in lengths),
        videos=("x",) * len(lengths),
        targets=tuple(Segments(start_s=[2.0, 6.0], end_s=[6.0, 12.0]) for _ in lengths),
        queries=tuple(Query(qid=str(row), video="x", text=f"query {row}") for row in range(len(lengths))),
        text=text * text_mask[..., None],
        text_mask=text_mask,
        saliency_pairs=torch.tensor([[[1, 2], [0, 6]]] * len(lengths)),
    )


SWITCHES = {
    "as released": {},
    "pre-norm": {"pre_norm": True},
    "positions of tokens": {"text_positions": True},
    "one projection": {"input_layers": 1},
    "three projections": {"input_layers": 3},
    "last layer alone": {"auxiliary": False},
    "classified ends": {"span_loss": "bins"},
    "alignment": {"alignment": True, "alignment_width": 6},
    "no encoder": {"encoder_layers": 0},
    "features as they are": {"normalize_video": False, "normalize_text": False, "endpoints": False},
}


@pytest.mark.parametrize("changes", SWITCHES.values(), ids=SWITCHES)
def test_every_switch_trains_and_answers(changes):
    model, batch = _model(**changes), _batch()
    losses = model.loss(model(batch), batch)
    assert torch.isfinite(losses["loss"])
    assert ("span_0" in losses) == changes.get("auxiliary", True)
    losses["loss"].backward()
    still = {name for name, each in model.named_parameters() if each.grad is None}
    assert all(name.startswith("align_video") for name in still)  # which no loss of the original's reads either
    answers = model.eval().predict(batch)
    assert [len(each.saliency) for each in answers] == [12, 7]
    assert all(len(each) == 10 and (each.end_s <= 150).all() for each in answers)


@pytest.mark.parametrize("changes", [{}, {"pre_norm": True}, {"text_positions": True}])
def test_answers_do_not_depend_on_the_batch(changes):
    model, batch = _model(**changes).eval(), _batch()
    together = model.predict(batch)
    alone = replace(
        batch,
        streams={name: x[1:, :, :7] for name, x in batch.streams.items()},
        mask=batch.mask[1:, :, :7],
        text=batch.text[1:, :2],
        text_mask=batch.text_mask[1:, :2],
        **{name: getattr(batch, name)[1:] for name in ("grids", "durations_s", "videos", "targets", "queries")},
    )
    (single,) = model.predict(alone)
    np.testing.assert_allclose(single.start_s, together[1].start_s, atol=1e-3)
    np.testing.assert_allclose(single.saliency, together[1].saliency, atol=2e-3)


def test_it_fits_a_handful_of_queries():
    model, batch = _model(), _batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model.loss(model(batch), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for answer, moments in zip(model.eval().predict(batch), batch.targets, strict=True):
        best = answer[:2]
        order = np.argsort(best.start_s)
        np.testing.assert_allclose(best.start_s[order], moments.start_s, atol=0.7)
        np.testing.assert_allclose(best.end_s[order], moments.end_s, atol=0.7)


def test_targets_are_fractions_of_the_snippets_or_snippets():
    model, batch = _model(), _batch(stride_s=1.5)
    first = model.targets(batch)[0]
    torch.testing.assert_close(first, torch.tensor([[4.0, 4.0], [9.0, 6.0]]) / 18)
    assert model.targets(batch, "bins")[0].tolist() == [[1, 3], [4, 7]]
    assert model.targets(_batch(), "bins")[1].tolist() == [[1, 2], [3, 5]]


def test_a_moment_within_one_snippet_begins_and_ends_in_it():
    batch = _batch()
    moments = Segments(start_s=[2.4, 23.9], end_s=[3.6, 24.0])
    batch = replace(batch, targets=(moments,) * len(batch.grids))
    assert _model().targets(batch, "bins")[0].tolist() == [[1, 1], [11, 11]]


def test_ends_are_limited_then_rounded_and_duplicates_go():
    found = Segments(
        start_s=[-3.0, 9.01, 8.0], end_s=[151.9, 21.2, 22.0], score=[0.3, 0.9, 0.8], extra={"limit_s": [149.0] * 3}
    )
    kept = _model(round_s=2.0).suppress(found)
    assert kept.start_s.tolist() == [10.0, 8.0, 0.0]
    assert kept.end_s.tolist() == [22.0, 22.0, 148.0]
    assert _model(round_s=2.0, nms_tiou=0.8).suppress(found).score.tolist() == [0.9, 0.3]
    assert _model().suppress(found).end_s.tolist() == [21.2, 22.0, 149.0]
    assert "limit_s" not in kept.extra


def test_what_predicted_fractions_are_fractions_of():
    grid = SnippetGrid(stride_s=2.0, window_s=2.0, count=12)
    assert read_span_s(grid, 23.5) == 23.5  # the video, to which the features reach within a clip
    assert read_span_s(grid, 300.0) == 24.0  # a part of the video


def test_answers_become_a_table():
    model, batch = _model().eval(), _batch()
    table = moment_table(model.predict(batch))
    assert [query.qid for query in table.queries] == ["0", "1"]
    assert len(table) == 20
    assert len(table.saliency[1]) == 7


@pytest.mark.parametrize(
    "changes",
    [{"width": 15}, {"heads": 3}, {"queries": 0}, {"input_layers": 4}, {"nms_tiou": 2.0}, {"classes": ("a",)}],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError):
        MomentDetrConfig(**{**SMALL, **changes})


def test_a_batch_without_queries_is_refused():
    with pytest.raises(ConfigError, match="without queries"):
        _model()(replace(_batch(), text=None, text_mask=None))
