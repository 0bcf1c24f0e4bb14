"""The original's weights give the original's outputs: logits, offsets, losses, detections."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch
from tal.methods.originals import ORIGINALS
from tal.ops.nms import NmsConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid

CASE = Path(__file__).parents[3] / "../shared/cases/parity/actionformer_local_small"

pytestmark = pytest.mark.skipif(
    not CASE.with_suffix(".json").exists(), reason="the parity cases are not beside the checkout"
)


@pytest.fixture(scope="module")
def facts():
    return json.loads(CASE.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def values():
    return load_file(f"{CASE}.io.safetensors")


@pytest.fixture
def model():
    config = ActionFormerConfig(
        streams={"features": 24},
        classes=tuple("abcdef"),
        train_snippets=128,
        width=32,
        branch_layers=3,
        window=5,
        drop_path=0.0,
        regression_ranges=((0, 4), (4, 8), (8, 16), (16, 32)),
        nms=NmsConfig(),
    )
    model = ActionFormer(config)
    ORIGINALS.load("actionformer").load(model, load_file(f"{CASE}.weights.safetensors"))
    return model


def _batch(facts, values, videos, padded):
    streams = torch.zeros(len(videos), 24, padded)
    mask = torch.zeros(len(videos), 1, padded, dtype=torch.bool)
    grids, targets = [], []
    for row, video in enumerate(videos):
        features = values[f"input.{video}.features"]
        streams[row, :, : features.shape[1]] = features
        mask[row, :, : features.shape[1]] = True
        grids.append(
            SnippetGrid.from_frames(
                count=features.shape[1],
                fps=facts["fps"],
                stride_frames=facts["feat_stride"],
                window_frames=facts["feat_num_frames"],
            )
        )
        ends = values[f"input.{video}.segments_s"].double().numpy()
        labels = values[f"input.{video}.labels"].numpy()
        targets.append(Segments(start_s=ends[:, 0], end_s=ends[:, 1], label=labels, classes=tuple("abcdef")))
    return Batch(
        streams={"features": streams},
        mask=mask,
        grids=tuple(grids),
        durations_s=tuple(facts["durations"][video] for video in videos),
        videos=tuple(str(video) for video in videos),
        targets=tuple(targets),
    )


@pytest.mark.parametrize("padded", [None, 104, 128])
@pytest.mark.parametrize("video", [0, 1])
def test_outputs_and_detections(model, facts, values, video, padded):
    count = values[f"input.{video}.features"].shape[1]
    batch = _batch(facts, values, [video], max(padded or count, count))
    model.eval()
    with torch.no_grad():
        outputs = model(batch)
    for level, (logits, offsets, mask) in enumerate(zip(outputs.logits, outputs.offsets, outputs.masks, strict=True)):
        expected = f"output.{video}.level{level}"
        valid = mask[0, 0]
        assert valid.sum() == values[f"{expected}.mask"].sum()
        for got, name in ((logits, "cls_logits"), (offsets, "offsets")):
            want = values[f"{expected}.{name}"][:, : len(valid)]
            np.testing.assert_allclose(got[0][:, valid], want[:, valid], atol=1e-4)

    (detections,) = model.decode(outputs, batch)
    ends = np.stack([detections.start_s, detections.end_s], 1)
    np.testing.assert_allclose(detections.score, values[f"output.{video}.detections.scores"], atol=1e-4)
    np.testing.assert_array_equal(detections.label, values[f"output.{video}.detections.labels"])
    np.testing.assert_allclose(ends, values[f"output.{video}.detections.segments_s"], atol=1e-4)


def test_losses_and_running_positives(model, facts, values):
    batch = _batch(facts, values, [0, 1], 128)
    model.train()
    losses = model.loss(model(batch), batch)
    expected = facts["loss"]
    assert losses["classification"].item() == pytest.approx(expected["cls_loss"], abs=1e-4)
    assert losses["regression"].item() == pytest.approx(expected["reg_loss"], abs=1e-4)
    assert losses["loss"].item() == pytest.approx(expected["final_loss"], abs=1e-4)
    assert model.positives.value.item() == pytest.approx(facts["loss_normalizer_after"], abs=1e-4)
