"""What the parity cases of pyramid methods have in common: files, batches, comparisons."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment

from tal.methods.base import Batch
from tal.methods.originals import ORIGINALS
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

CASES = Path(__file__).parents[3] / "../shared/cases/parity"


class Case:
    """One case: its settings as the original has them, inputs, outputs, and the model filled with its weights."""

    def __init__(self, name):
        if not (CASES / f"{name}.json").exists():
            pytest.skip("the parity cases are not beside the checkout")
        self.facts = json.loads((CASES / f"{name}.json").read_text())
        self.values = load_file(CASES / f"{name}.io.safetensors")
        self.weights = load_file(CASES / f"{name}.weights.safetensors")
        self.classes = tuple("abcdefghijklmnopqrstuvwxyz"[: self.facts["model"]["num_classes"]])

    def model(self, method):
        """The method, from the original's settings and weights."""
        original = ORIGINALS.load(method)
        config = original.configure(original.settings(self.facts), self.classes)
        model = METHODS.load(method)(config)
        original.load(model, self.weights)
        return model

    def batch(self, videos, padded=0):
        """Some of the case's videos, padded to `padded` snippets or more."""
        features = [self.values[f"input.{video}.features"] for video in videos]
        longest = max(padded, *(x.shape[1] for x in features))
        stacked = torch.zeros(len(videos), len(features[0]), longest)
        mask = torch.zeros(len(videos), 1, longest, dtype=torch.bool)
        for row, x in enumerate(features):
            stacked[row, :, : x.shape[1]], mask[row, :, : x.shape[1]] = x, True
        return Batch(
            streams={"features": stacked},
            mask=mask,
            grids=tuple(self._grid(x.shape[1]) for x in features),
            durations_s=tuple(self.facts["durations"][video] for video in videos),
            videos=tuple(str(video) for video in videos),
            targets=tuple(self._targets(video) for video in videos),
        )

    def _grid(self, count):
        facts = self.facts
        frames = {"stride_frames": facts["feat_stride"], "window_frames": facts["feat_num_frames"]}
        return SnippetGrid.from_frames(count=count, fps=facts["fps"], **frames)

    def _targets(self, video):
        ends = self.values[f"input.{video}.segments_s"].double().numpy()
        labels = self.values[f"input.{video}.labels"].numpy()
        return Segments(start_s=ends[:, 0], end_s=ends[:, 1], label=labels, classes=self.classes)

    def check_outputs(self, outputs, row, video, offsets="reg"):
        """Logits and offsets of every valid point within 1e-4."""
        for level, mask in enumerate(outputs.masks):
            expected, valid = f"output.{video}.level{level}", mask[row, 0]
            assert int(valid.sum()) == int(self.values[f"{expected}.mask"].sum())
            for got, name in ((outputs.logits[level], "cls_logits"), (outputs.offsets[level], offsets)):
                want = self.values[f"{expected}.{name}"][:, : len(valid)]
                np.testing.assert_allclose(got[row][:, valid], want[:, valid[: want.shape[1]]], atol=1e-4)

    def check_detections(self, found, video):
        """Scores, labels and ends within 1e-4, in any order of equal scores."""
        expected = [self.values[f"output.{video}.detections.{name}"] for name in ("scores", "segments_s", "labels")]
        theirs = np.column_stack([np.asarray(column, np.float64) for column in expected])
        ours = np.column_stack([found.score, found.start_s, found.end_s, found.label])
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], atol=1e-4)
        apart = np.abs(ours[:, None] - theirs).max(-1)  # (N, N)
        assert apart[linear_sum_assignment(apart)].max() < 1e-4

    def check_losses(self, model, losses):
        """Losses of the first step, and the running number of positives after it."""
        expected = self.facts["loss"]
        assert losses["classification"].item() == pytest.approx(expected["cls_loss"], abs=1e-4)
        assert losses["regression"].item() == pytest.approx(expected["reg_loss"], abs=1e-4)
        assert losses["loss"].item() == pytest.approx(expected["final_loss"], abs=1e-4)
        assert model.positives.value.item() == pytest.approx(self.facts["loss_normalizer_after"], abs=1e-4)
