"""What parity cases have in common: files, models from the originals' weights, batches, comparisons."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment

from tal.annotations.moment_results import Query
from tal.methods.base import Batch
from tal.methods.originals import ORIGINALS
from tal.ops.spans import to_ends
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

CASES = Path(__file__).parents[3] / "../shared/cases/parity"


class Case:
    """One case: its settings and further facts as the original has them, its inputs and outputs, its weights.

    Args:
        name: Of its files.
    """

    def __init__(self, name):
        if not (CASES / f"{name}.json").exists():
            pytest.skip("the parity cases are not beside the checkout")
        self.facts = json.loads((CASES / f"{name}.json").read_text())
        self.values = load_file(CASES / f"{name}.io.safetensors")
        self.weights = load_file(CASES / f"{name}.weights.safetensors")


class PyramidCase(Case):
    """A case of a localizer on a feature pyramid."""

    @property
    def classes(self):
        return tuple("abcdefghijklmnopqrstuvwxyz"[: self.facts["model"]["num_classes"]])

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

    def check_outputs(self, outputs, row, video):
        """Logits and offsets of every valid point within 1e-4."""
        offsets = "reg" if f"output.{video}.level0.reg" in self.values else "offsets"
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


class MomentCase(Case):
    """A case of a method that answers queries."""

    def model(self, method, **options):
        """The method, from the original's settings and weights; `options` go before its own."""
        original = ORIGINALS.load(method)
        settings = original.complete(self.weights, {"opt": {**self.facts["settings"], **options}})
        model = METHODS.load(method)(original.configure(settings, ()))
        original.load(model, self.weights)
        return model

    def batch(self):
        """All of its videos, each with one query."""
        grids, targets = [], []
        for row, count in enumerate(self.facts["video_lengths_clips"]):
            grids.append(SnippetGrid(stride_s=2.0, window_s=2.0, count=count))
            start_s, end_s = (to_ends(self.values[f"target.{row}.spans_cw"]).double() * grids[-1].end_s).T.numpy()
            targets.append(Segments(start_s=start_s, end_s=end_s))
        videos = tuple(f"video {row}" for row in range(len(grids)))
        pairs = [self.values[f"target.saliency_{kind}_clips"] for kind in ("pos", "neg")]
        return Batch(
            streams={"features": self.values["input.video_features"][..., :-2].transpose(1, 2)},
            mask=self.values["input.video_mask"][:, None].bool(),
            grids=tuple(grids),
            durations_s=tuple(self.facts["durations_s"]),
            videos=videos,
            targets=tuple(targets),
            queries=tuple(Query(qid=str(row), video=video, text="a query") for row, video in enumerate(videos)),
            text=self.values["input.text_features"],
            text_mask=self.values["input.text_mask"].bool(),
            saliency_pairs=torch.stack(pairs, dim=1),
        )
