"""DenoiseLoc against the original code's numbers on a small configuration (the parity case, read in place)."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.methods.originals.denoiseloc import ORIGINAL
from tal.modules.span_noise import SpanDraws
from tal.ops.matching import match_spans
from tal.ops.spans import to_ends

sys.path.insert(0, str(Path(__file__).parent))
from parity import MomentCase

UNIT_ROWS = {"no_norm_vfeat": True, "no_norm_tfeat": True}  # the case's features are scaled already


@pytest.fixture(scope="module")
def case():
    return MomentCase("denoiseloc_small")


@pytest.fixture
def model(case):
    return case.model("denoiseloc", **UNIT_ROWS)


@pytest.fixture
def draws(facts, values):
    queries = facts["settings"]["num_queries"]
    padding, kept = torch.zeros(3, queries, 2), []
    for row in range(3):
        placeholder = values.get(f"noise.{row}.placeholder_randn", torch.empty(0, 2))
        padding[row, queries - len(placeholder) :] = placeholder
        mask = values.get(f"noise.{row}.gt_select_mask")
        kept.append(None if mask is None else mask.nonzero()[:, 0])
    return SpanDraws(
        step=torch.cat([values[f"noise.{row}.t"] for row in range(3)]),
        noise=torch.stack([values[f"noise.{row}.eps"] for row in range(3)]),
        padding=padding,
        kept=tuple(kept),
    )


def _close(found, expected, name=""):
    np.testing.assert_allclose(found.detach(), expected, atol=1e-4, err_msg=name)


@pytest.fixture
def trained(model, batch, draws):
    model.train()
    first = model.refine.first.noise.blurred(model.targets(batch), draws)
    seen = []
    model.refine.layers[0].interact.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    return first, model.predicted(batch, first), seen[0]


def test_training_outputs(trained, batch, values):
    first, outputs, seen = trained
    counts = torch.tensor([grid.count for grid in batch.grids])[:, None, None]
    _close(to_ends(first) * counts, values["train.initial_spans_clips"])
    valid = torch.cat([batch.mask[:, 0], batch.text_mask], dim=1)
    _close(outputs.memory[valid], values["train.encoder_memory"][valid])
    _close(seen.unflatten(0, (3, -1)).transpose(2, 3), values["train.head0.roi_features"])
    _close(outputs.saliency[batch.mask[:, 0]], values["train.saliency_scores"][batch.mask[:, 0]])
    assert len(outputs.logits) == 3
    for layer in range(3):
        _close(outputs.logits[layer], values[f"train.layer{layer}.logits"], f"logits {layer}")
        _close(outputs.spans[layer], values[f"train.layer{layer}.spans_cw"], f"spans {layer}")


def test_matching(trained, model, batch, facts):
    _, outputs, _ = trained
    targets = model.targets(batch)
    before = np.cumsum([0, *map(len, targets)])
    for layer in range(3):
        found = match_spans(outputs.logits[layer], outputs.spans[layer], targets, model.config.match)
        for video, (queries, truths) in enumerate(facts["matching"][f"layer{layer}"]):
            rows = found.video_idx == video
            assert found.query_idx[rows].tolist() == queries
            assert (found.target_idx[rows] - before[video]).tolist() == truths


def test_losses_and_gradients(trained, model, batch, facts):
    _, outputs, _ = trained
    losses = model.loss(outputs, batch)
    expected = facts["loss"]
    for name, value in expected.items():
        part, _, layer = name.removeprefix("loss_").partition("_")
        if name.startswith("class_error"):
            part, layer, value = "label_error", name.removeprefix("class_error").strip("_"), value / 100
        assert losses[f"{part}_{layer}".strip("_")].item() == pytest.approx(value, abs=1e-4), name
    assert losses["loss"].item() == pytest.approx(facts["loss_total"], abs=1e-4)

    losses["loss"].backward()
    norms = {}
    for key, norm in facts["grad_norm"].items():
        norms.setdefault(ORIGINAL.translate(key)[0], norm)
    found = {name: 0.0 if each.grad is None else each.grad.norm().item() for name, each in model.named_parameters()}
    assert found == pytest.approx(norms, rel=1e-3, abs=1e-5)
    assert math.sqrt(sum(norm**2 for norm in found.values())) == pytest.approx(facts["grad_norm_total"], rel=1e-4)


def test_inference(model, batch, values, facts):
    model.eval()
    counts = torch.tensor([grid.count for grid in batch.grids])[:, None, None]
    first = model.refine.first.noise.to_fractions(values["infer.noise"])
    _close(to_ends(first) * counts, values["infer.initial_spans_clips"])
    with torch.no_grad():
        outputs = model.predicted(batch, first)
    _close(outputs.logits[-1], values["infer.last_layer.logits"])
    _close(outputs.spans[-1], values["infer.last_layer.spans_cw"])
    _close(outputs.saliency[batch.mask[:, 0]], values["infer.saliency_scores"][batch.mask[:, 0]])
    for row, answer in enumerate(model.decode(outputs, batch)):
        _same_windows(answer, values[f"infer.{row}.windows_after_nms"])


def test_windows_without_suppression(case, batch, values):
    model = case.model("denoiseloc", **UNIT_ROWS, nms_thd=-1).eval()
    with torch.no_grad():
        outputs = model.predicted(batch, model.refine.first.noise.to_fractions(values["infer.noise"]))
    for row, answer in enumerate(model.decode(outputs, batch)):
        _same_windows(answer, values[f"infer.{row}.windows_before_nms"])


def _same_windows(answer, expected):
    found = np.stack([answer.start_s, answer.end_s, answer.score], axis=1)
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)
