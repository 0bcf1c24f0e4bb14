"""The original's weights give the original's outputs: spans, saliency, losses, gradients, moments in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tal.annotations.moment_results import Query
from tal.methods.base import Batch
from tal.methods.moment_detr import MomentDetr
from tal.methods.originals import ORIGINALS, find_original
from tal.segments import Segments
from tal.timeline import SnippetGrid

CASE = Path(__file__).parents[3] / "../shared/cases/parity/moment_detr_small"

pytestmark = pytest.mark.skipif(
    not CASE.with_suffix(".json").exists(), reason="the parity cases are not beside the checkout"
)


@pytest.fixture(scope="module")
def facts():
    return json.loads(CASE.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def values():
    return load_file(f"{CASE}.io.safetensors")


@pytest.fixture(scope="module")
def weights():
    return load_file(f"{CASE}.weights.safetensors")


def _model(facts, weights, **options):
    original = find_original(weights)
    settings = original.complete(weights, {"opt": {**facts["settings"], **options}})
    model = MomentDetr(original.configure(settings, ()))
    original.load(model, weights)
    return model


@pytest.fixture
def model(facts, weights):
    return _model(facts, weights)


@pytest.fixture(scope="module")
def batch(facts, values):
    features, lengths = values["input.video_features"], facts["video_lengths_clips"]
    targets, grids = [], []
    for row, length in enumerate(lengths):
        grids.append(SnippetGrid(stride_s=2.0, window_s=2.0, count=length))
        centre, width = values[f"target.{row}.spans_cw"].double().numpy().T
        targets.append(Segments(start_s=(centre - width / 2) * 2 * length, end_s=(centre + width / 2) * 2 * length))
    return Batch(
        streams={"features": features[..., :-2].transpose(1, 2)},
        mask=values["input.video_mask"][:, None] > 0,
        grids=tuple(grids),
        durations_s=tuple(facts["durations_s"]),
        videos=tuple(f"video {row}" for row in range(len(lengths))),
        targets=tuple(targets),
        queries=tuple(Query(qid=str(row), video=f"video {row}", text="a query") for row in range(len(lengths))),
        text=values["input.text_features"],
        text_mask=values["input.text_mask"] > 0,
        saliency_pairs=torch.stack([values[f"target.saliency_{kind}_clips"] for kind in ("pos", "neg")], 1),
    )


def test_the_weights_tell_the_method():
    assert find_original(["transformer.decoder.layers.0.multihead_attn.in_proj_weight"]) is ORIGINALS.load(
        "moment_detr"
    )


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
def test_moments_and_saliency(facts, weights, values, batch, nms, name):
    model = _model(facts, weights, nms_thd=nms).eval()
    for row, answer in enumerate(model.predict(batch)):
        expected = values[f"infer.{row}.windows_{name}_nms"]
        np.testing.assert_allclose(np.stack([answer.start_s, answer.end_s, answer.score], 1), expected, atol=1.01e-4)
        np.testing.assert_allclose(answer.saliency, values[f"infer.{row}.saliency_scores_half"], rtol=1e-3, atol=1e-3)
        assert list(answer.extra["query"]) == ["a query"] * len(answer)
