"""DenoiseLoc for segments: windows, losses, what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.methods.denoiseloc_segments import DenoiseSegments, DenoiseSegmentsConfig
from tal.methods.inference import predict_whole
from tal.modules.refinement import Refined, RefinementConfig
from tal.ops.matching import Matches
from tal.ops.nms import NmsConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid

CLASSES = ("run", "jump", "sit")
SMALL = {
    "streams": {"features": 6},
    "classes": CLASSES,
    "train_snippets": 32,
    "width": 32,
    "heads": 4,
    "hidden": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "queries": 8,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "refinement": RefinementConfig(bins=6, dynamic_width=8, snr_scale=1.0),
}


def _model(seed=0, **changes):
    torch.manual_seed(seed)
    return DenoiseSegments(DenoiseSegmentsConfig(**{**SMALL, **changes}))


def _sample(name="a", count=32, *, seed=0, instances=2, offset_s=3.0):
    """Noise, with instances whose class shows in a channel of its own."""
    rng = np.random.default_rng((seed, count))
    grid = SnippetGrid(offset_s=offset_s, stride_s=0.5, window_s=0.5, count=count)
    features = rng.normal(0, 0.1, (count, 6)).astype(np.float32)
    start = ((np.arange(instances) + rng.uniform(0, 0.5, instances)) / instances) * count
    end = start + rng.uniform(0.25, 0.45, instances) / instances * count
    label = rng.permutation(3)[:instances]
    for first, last, each in zip(start, end, label, strict=True):
        inside = (np.arange(count) + 0.5 >= first) & (np.arange(count) + 0.5 <= last)
        features[inside, each] += 2.0
        features[inside, 3] += 1.0
    return Sample(
        video=name,
        streams={"features": torch.from_numpy(features)},
        grid=grid,
        duration_s=grid.end_s + 1,
        instances=Segments(
            start_s=grid.to_seconds(start - 0.5), end_s=grid.to_seconds(end - 0.5), label=label, classes=CLASSES
        ),
    )


def _batch(model, counts=(32, 20, 32), *, train=True):
    samples = [_sample(f"v{row}", count, seed=row) for row, count in enumerate(counts)]
    return collate(samples, model.inputs, train=train)


@pytest.mark.parametrize("label_loss", ["softmax", "focal"])
def test_shapes_and_losses(label_loss):
    model = _model(label_loss=label_loss).train()
    batch = _batch(model)
    assert batch.mask.shape == (3, 1, 32)
    outputs = model(batch)
    assert [each.shape for each in outputs.logits] == [(3, 8, 3 + (label_loss == "softmax"))] * 2
    assert [each.shape for each in outputs.spans] == [(3, 8, 2)] * 2
    losses = model.loss(outputs, batch)
    assert set(losses) == {"loss", "span", "giou", "label"}
    losses["loss"].backward()
    without = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


def test_targets_are_fractions_of_the_valid_snippets():
    model = _model()
    sample = _sample(count=20)
    ends_s = sample.grid.starts_s[[0, 5]], sample.grid.ends_s[[19, 9]]
    sample = replace(sample, instances=Segments(start_s=ends_s[0], end_s=ends_s[1], label=[1, 2], classes=CLASSES))
    ((spans, labels),) = model.targets(collate([sample], model.inputs, train=True))
    torch.testing.assert_close(spans, torch.tensor([[0.5, 1.0], [0.375, 0.25]]))
    assert labels.tolist() == [1, 2]


def test_spans_become_seconds_where_the_targets_came_from():
    model = _model(label_loss="focal", score_threshold=0.5)
    batch = _batch(model)
    targets = model.targets(batch)
    logits = torch.full((3, 8, 3), -9.0)
    spans = torch.rand(3, 8, 2)
    for row, (wanted, labels) in enumerate(targets):
        spans[row, : len(wanted)] = wanted
        logits[row, torch.arange(len(labels)), labels] = 9.0
    found = model.candidates(Refined(first=spans, logits=(logits,), spans=(spans,)), batch)
    for each, instances in zip(found, batch.targets, strict=True):
        np.testing.assert_allclose(each.start_s, instances.start_s, atol=1e-4)
        np.testing.assert_allclose(each.end_s, instances.end_s, atol=1e-4)
        assert each.label.tolist() == instances.label.tolist()


def test_padding_changes_nothing():
    model = _model().eval()
    short = _sample(count=20)
    alone = collate([short], replace(model.inputs, window_snippets=None, train_snippets=20), train=False)
    padded = collate([short], model.inputs, train=False)
    assert (alone.mask.shape[-1], padded.mask.shape[-1]) == (20, 32)
    for first, second in zip(model(alone).spans, model(padded).spans, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("label_loss", ["softmax", "focal"])
def test_every_instance_is_answered_by_a_span_of_its_own(label_loss):
    model = _model(label_loss=label_loss)
    batch = _batch(model)
    targets = model.targets(batch)
    logits = torch.randn(3, 8, 3 + (label_loss == "softmax"))
    found = model.match(logits, torch.rand(3, 8, 2), targets)
    assert sorted(found.target_idx.tolist()) == list(range(sum(len(spans) for spans, _ in targets)))
    assert len(set(zip(found.video_idx.tolist(), found.query_idx.tolist(), strict=True))) == len(found)


@pytest.mark.parametrize("label_loss", ["softmax", "focal"])
def test_the_right_class_and_place_are_the_cheapest(label_loss):
    model = _model(label_loss=label_loss)
    wanted, labels = torch.tensor([[0.3, 0.2], [0.7, 0.1]]), torch.tensor([2, 0])
    spans = torch.tensor([[[0.7, 0.1], [0.3, 0.2], [0.3, 0.2], [0.5, 1.0]]])
    logits = torch.zeros(1, 4, 3 + (label_loss == "softmax"))
    logits[0, 2, 2], logits[0, 1, 1] = 3.0, 3.0
    found = model.match(logits, spans, [(wanted, labels)])
    assert dict(zip(found.target_idx.tolist(), found.query_idx.tolist(), strict=True)) == {0: 2, 1: 0}


def test_spans_that_answer_for_nothing_have_no_gradient():
    model = _model(decoder_layers=1).train()
    batch = _batch(model)
    outputs = model(batch)
    spans = outputs.spans[-1].detach().requires_grad_()
    logits = outputs.logits[-1].detach()
    model.loss(Refined(first=outputs.first, logits=(logits,), spans=(spans,)), batch)["loss"].backward()
    matches: Matches = model.match(logits, spans.detach(), model.targets(batch))
    answering = torch.zeros(3, 8, dtype=torch.bool)
    answering[matches.video_idx, matches.query_idx] = True
    assert spans.grad[answering].any(-1).all()
    assert not spans.grad[~answering].any()


def test_a_batch_without_instances_trains_the_background_alone():
    for label_loss in ("softmax", "focal"):
        model = _model(label_loss=label_loss).train()
        empty = Segments.empty(CLASSES)
        batch = replace(_batch(model), targets=(empty,) * 3)
        losses = model.loss(model(batch), batch)
        assert losses["span"] == 0
        assert losses["giou"] == 0
        losses["loss"].backward()
        assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)


def test_same_seed_same_results_and_the_noise_seed_changes_them():
    first, second = (_model().eval() for _ in range(2))
    batch = _batch(first, train=False)
    torch.testing.assert_close(first(batch).spans[-1], second(batch).spans[-1], rtol=0, atol=0)
    other = _model(refinement=replace(SMALL["refinement"], noise_seed=1)).eval()
    other.load_state_dict(first.state_dict())
    assert not torch.allclose(first(batch).spans[-1], other(batch).spans[-1])


def test_classes_without_instances_score_nothing():
    model = _model(empty_classes=("jump",)).eval()
    assert model.scores(model(_batch(model, train=False)))[..., 1].max() < 1e-6


def _learnt(steps, *, lr, copies=1, **refinement):
    """tIoU of each clip's best detection after some steps on four clips, and how many have the right class.

    Args:
        steps: The learning rate rises to `lr` in ten of them, then falls to 0.
        lr: Of AdamW.
        copies: Of every clip in a batch, each with noise of its own.
        refinement: Its settings.
    """
    model = _model(queries=7, refinement=replace(SMALL["refinement"], **refinement)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    samples = [_sample(f"v{row}", seed=row, instances=1) for row in range(4)]
    batch = collate(samples * copies, model.inputs, train=True)
    torch.manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10) * (1 - step / steps)
        optimizer.zero_grad()
        model.loss(model(batch), batch)["loss"].backward()
        optimizer.step()
    found = model.eval().predict(collate(samples, model.inputs, train=False))
    pairs = [(sample.instances, each[:1]) for sample, each in zip(samples, found, strict=True)]
    right = [best.label[0] == truth.label[0] for truth, best in pairs]
    return np.array([_tiou(*pair)[0] for pair in pairs]), sum(right)


def test_learns_a_handful_of_clips():
    tiou, right = _learnt(100, lr=3e-3, denoise=False, first_spans="grid")
    assert right == 4
    assert tiou.min() > 0.6


@pytest.mark.full
def test_learns_a_handful_of_clips_from_noise():
    """What noise leaves differs by the rounding of sums: the four together are far above the guess of a whole clip."""
    tiou, right = _learnt(500, lr=1e-3, copies=4, snr_scale=2.0)
    assert right >= 3
    assert tiou.mean() > 0.5


def test_windows_of_a_longer_video_are_its_clips():
    model = _model(window_overlap=0.0, nms=NmsConfig(method="none", max_segments=1000)).eval()
    clips = [_sample(f"v{row}", seed=row, offset_s=0.0) for row in range(2)]
    whole = _joined(*clips)
    batch = collate([whole], replace(model.inputs, window_snippets=64), train=False)
    (found,) = predict_whole(model, batch)
    apart = [model.predict(collate([clip], model.inputs, train=False))[0] for clip in clips]
    border_s = clips[0].grid.end_s
    moved = replace(apart[1], start_s=apart[1].start_s + border_s, end_s=apart[1].end_s + border_s)
    inside = [
        each[(each.start_s > edge + 1) & (each.end_s < edge + border_s)]
        for each, edge in ((apart[0], 0), (moved, border_s))
    ]
    for start_s, score in zip(
        *(np.concatenate([getattr(each, name) for each in inside]) for name in ("start_s", "score")), strict=True
    ):
        near = np.abs(found.start_s - start_s) + np.abs(found.score - score)
        assert near.min() < 1e-4


def _joined(first, second):
    """Two clips as one video."""
    grid = replace(first.grid, count=first.grid.count + second.grid.count)
    return replace(
        first,
        streams={"features": torch.cat([first.streams["features"], second.streams["features"]])},
        grid=grid,
        duration_s=grid.end_s,
    )


def _tiou(instances, detections):
    first, second = np.maximum(instances.start_s, detections.start_s), np.minimum(instances.end_s, detections.end_s)
    shared = (second - first).clip(0)
    return shared / (instances.length_s + detections.length_s - shared)


def test_builds_at_full_size():
    with torch.device("meta"):
        model = DenoiseSegments(
            DenoiseSegmentsConfig(streams={"i3d": 2048}, classes=tuple(f"class {row}" for row in range(20)))
        )
    assert sum(each.numel() for each in model.parameters()) > 20e6


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("queries", 0, "queries of 0"),
        ("window_overlap", 1.0, "window_overlap of 1.0"),
        ("width", 33, "width 33 with 4 heads"),
        ("label_loss", "other", "label_loss 'other'"),
        ("empty_classes", ("fly",), "fly"),
        ("classes", (), "without classes"),
        ("streams", {}, "without feature streams"),
    ],
)
def test_refuses_settings_that_cannot_be(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        _model(**{setting: value})


@pytest.mark.parametrize("label_loss", ["softmax", "focal"])
def test_one_class_for_all_is_named_by_the_video(label_loss):
    model = _model(class_agnostic=True, label_loss=label_loss, empty_classes=("sit",), score_threshold=0.0)
    batch = _batch(model)
    outputs = model(batch)
    assert outputs.logits[-1].shape[-1] == 1 + (label_loss == "softmax")
    assert model.loss(outputs, batch)["loss"].isfinite()
    model.eval()
    batch = _batch(model, train=False)
    assert all((found.label == -1).all() and len(found) for found in model.predict(batch))
    named = model.predict(replace(batch, video_scores=torch.tensor([[0.1, 0.9, 0.3]] * 3)))
    assert all(set(found.label) == {1, 2} for found in named)
