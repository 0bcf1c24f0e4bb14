"""The original's weights give the original's outputs: spans, saliency, losses, gradients, moments in seconds."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.methods.originals import ORIGINALS, find_original

sys.path.insert(0, str(Path(__file__).parent))
from parity import MomentCase


@pytest.fixture(scope="module")
def case():
    return MomentCase("moment_detr_small")


@pytest.fixture
def model(case):
    return case.model("moment_detr")


def test_the_weights_tell_the_method(case):
    assert find_original(case.weights) is ORIGINALS.load("moment_detr")


def test_inputs_and_outputs(model, values, batch):
    video, mask = model.eval().video(batch)
    np.testing.assert_allclose(video, values["input.video_features"], atol=1e-4)
    with torch.no_grad():
        outputs = model(batch)
    np.testing.assert_allclose(outputs.memory, values["output.encoder_memory"], atol=1e-4)
    np.testing.assert_allclose(outputs.states, values["output.decoder_states"], atol=1e-4)
    np.testing.assert_allclose(outputs.saliency[mask], values["output.saliency_scores"][mask], atol=1e-4)
    for layer in range(2):
        np.testing.assert_allclose(outputs.logits[layer], values[f"output.layer{layer}.logits"], atol=1e-4)
        np.testing.assert_allclose(outputs.spans[layer], values[f"output.layer{layer}.spans_cw"], atol=1e-4)


def test_losses_and_gradients(model, facts, batch):
    losses = model.train().loss(model(batch), batch)
    expected = facts["loss"]
    assert losses["loss"].item() == pytest.approx(facts["loss_total"], abs=1e-4)
    for name, value in expected.items():
        ours = name.removeprefix("loss_").replace("class_error", "label_error")
        assert losses[ours].item() == pytest.approx(value / (100 if "error" in name else 1), abs=1e-4), name
    assert len(losses) == len(expected) + 1
    losses["loss"].backward()
    original = ORIGINALS.load("moment_detr")
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    norms = {original.translate(name)[0]: value for name, value in facts["grad_norm"].items()}
    assert {name for name in norms if name in gradients} == set(gradients)
    for name, gradient in gradients.items():
        assert gradient.norm().item() == pytest.approx(norms[name], rel=2e-3, abs=1e-4), name


def test_matching(model, facts, batch):
    with torch.no_grad():
        outputs = model.eval()(batch)
    for layer in range(2):
        found = model.match(outputs.logits[layer], outputs.spans[layer], model.targets(batch))
        pairs = np.stack([found.video_idx, found.query_idx, found.target_idx])
        before = 0
        for row, (queries, targets) in enumerate(facts["matching"][f"layer{layer}"]):
            rows = pairs[:, pairs[0] == row]
            np.testing.assert_array_equal(rows[1], queries)
            np.testing.assert_array_equal(rows[2] - before, targets)
            before += facts["gt_counts"][row]


@pytest.mark.parametrize(("nms", "name"), [(-1, "before"), (0.8, "after")])
def test_moments_and_saliency(case, values, batch, nms, name):
    model = case.model("moment_detr", nms_thd=nms).eval()
    for row, answer in enumerate(model.predict(batch)):
        expected = values[f"infer.{row}.windows_{name}_nms"]
        np.testing.assert_allclose(np.stack([answer.start_s, answer.end_s, answer.score], 1), expected, atol=1.01e-4)
        np.testing.assert_allclose(answer.saliency, values[f"infer.{row}.saliency_scores_half"], rtol=1e-3, atol=1e-3)
        assert list(answer.extra["query"]) == ["a query"] * len(answer)
