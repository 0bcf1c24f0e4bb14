"""What is found in a video does not depend on the videos beside it in a batch."""

import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from methods_small import small_config, small_method

from tal.annotations.moment_results import Query
from tal.features.base import FeatureSpec, VideoFeatures
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.methods.lengths import few_lengths
from tal.methods.pyramid import PyramidMethod
from tal.modules.class_semantics import SemanticsConfig
from tal.package import Package
from tal.query_localization import QueryLocalizer
from tal.timeline import SnippetGrid

PYRAMIDS = ("actionformer", "asl", "csa_actionformer", "tridet", "temporalmaxer", "mrav_ff", "mrav_ff_tridet", "tal")
SWITCHES = [
    *((name, {}) for name in PYRAMIDS),
    ("actionformer", {"absolute_positions": True}),
    ("actionformer", {"window": 0}),
    ("actionformer", {"neck": "top_down", "relative_positions": True}),
    ("actionformer", {"embed_kernel": 7, "head_kernel": 5}),
    ("actionformer", {"multiple_of": 48}),
    ("csa_actionformer", {"semantics": SemanticsConfig(attention="both", squeeze="conv")}),
    ("csa_actionformer", {"semantics": SemanticsConfig(squeeze="attend", time_kernel=7)}),
    ("tridet", {"encoder": "conv", "trident": False}),
    ("tridet", {"downsampling": "average", "neck": "top_down"}),
    ("temporalmaxer", {"neck_norm": "group"}),
    ("temporalmaxer", {"neck": "top_down", "head_kernel": 7}),
    ("mrav_ff", {"symmetric": True, "audio_window": 0, "gate": "scalar"}),
    ("tal", {"members": ("actionformer", "actionformer"), "window": 0}),
]
COUNTS = [(60, 57, 41, 9), (64, 63, 33, 1), (130, 64, 60, 40), (200, 180, 100, 70)]
"""Shorter than a training window of 64, as long, longer; next to multiples of every unit."""


def random_method(name, **changes):
    """With weights and biases that are nowhere zero: what padding does is seen."""
    method = small_method(name, **{"width": 32, **changes}).eval()  # two channels and more in each of TriDet's groups
    torch.manual_seed(1)
    for parameter in method.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return method


def samples_of(method, counts):
    rng = np.random.default_rng(0)
    return [
        Sample(
            video=str(number),
            streams={
                name: torch.from_numpy(rng.standard_normal((count, width)).astype(np.float32))
                for name, width in method.inputs.streams.items()
            },
            grid=SnippetGrid(stride_s=0.5, window_s=0.5, count=count),
            duration_s=count * 0.5,
        )
        for number, count in enumerate(counts)
    ]


def parts(outputs, row, count):
    """Name -> what is said of a window's valid snippets, level by level."""
    found = {}
    for member, each in enumerate(getattr(outputs, "members", [outputs])):
        for field in fields(each):
            value = getattr(each, field.name)
            levels = enumerate(value) if isinstance(value, tuple) else [(0, value)]
            for level, tensor in levels:
                valid = -(-count // 2**level) if tensor.dim() == 3 else tensor.shape[-1]
                found[member, field.name, level] = tensor[row][..., :valid]
    return found


def apart(method, counts):
    """The largest difference, over all windows and outputs, between a window in a batch and alone."""
    samples = samples_of(method, counts)
    largest = 0.0
    with torch.no_grad():
        together = method(collate(samples, method.inputs, train=False))
        for row, sample in enumerate(samples):
            alone = parts(method(collate([sample], method.inputs, train=False)), 0, sample.grid.count)
            here = parts(together, row, sample.grid.count)
            assert alone.keys() == here.keys()
            for name, value in alone.items():
                largest = max(largest, float((value.float() - here[name].float()).abs().max()))
    return largest


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("name", "switches"), SWITCHES)
def test_a_window_in_a_batch_is_as_if_it_were_alone(name, switches, counts):
    assert apart(random_method(name, **switches), counts) < 1e-5


@pytest.mark.parametrize("name", ["actionformer", "tridet", "temporalmaxer", "tal"])
def test_one_length_for_all_is_not_the_same(name, monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(PyramidMethod, "by_length", lambda self, batch: self.network(*self._pad(batch)))
    switches = {"neck_norm": "group"} if name == "temporalmaxer" else {}
    assert apart(random_method(name, **switches), COUNTS[2]) > 1e-2


@pytest.mark.parametrize("name", PYRAMIDS)
def test_detections_of_a_batch_are_those_of_its_videos(name):
    method = random_method(name)
    samples = samples_of(method, COUNTS[2])
    together = method.predict(collate(samples, method.inputs, train=False))
    for sample, found in zip(samples, together, strict=True):
        (alone,) = method.predict(collate([sample], method.inputs, train=False))
        assert len(alone) == len(found) > 0
        for column in ("start_s", "end_s", "score"):
            np.testing.assert_allclose(getattr(found, column), getattr(alone, column), atol=1e-4)


@pytest.mark.parametrize("name", ["actionformer", "asl", "csa_actionformer", "mrav_ff"])
def test_training_takes_one_pass(name):
    """What is drawn at random there does not depend on the windows' lengths."""
    method, passes = random_method(name), []
    method.embed.register_forward_hook(lambda *_: passes.append(1))
    batch = collate(samples_of(method, COUNTS[2]), method.inputs, train=False)
    method(batch)
    assert len(passes) == 2
    method.train()(batch)
    assert len(passes) == 3


def test_most_batches_need_one_length():
    """ActionFormer as published: windows go through the network together unless they are exactly as long as a unit."""
    config = replace(small_config("actionformer"), train_snippets=2304, branch_layers=5, window=19)
    assert len(set(config.lengths_together([2304, 2300, 1700, 40]))) == 1
    assert len(set(config.lengths_together([3600, 3001, 900, 40]))) == 1
    assert len(set(config.lengths_together([3600, 2304, 900]))) == 2


def test_few_lengths():
    assert few_lengths([], []) == []
    assert few_lengths([8, 16, 24], [True, True, True]) == [24, 24, 24]
    assert few_lengths([8, 16, 24], [True, False, True]) == [24, 16, 24]
    assert few_lengths([8, 16, 24], [True, True, False]) == [24, 24, 24]
    assert few_lengths([8, 16, 24], [True, True, False], most=20) == [16, 16, 24]
    assert few_lengths([8, 16, 24, 32], [True, False, False, False]) == [16, 16, 24, 32]


class _Folder:
    """One video's features, or each query's tokens."""

    def __init__(self, spec, rows):
        self.spec, self.folder, self.rows = spec, "memory", rows

    def ids(self):
        return ["v"]

    def load(self, asked, **_):
        if isinstance(asked, Query):
            return self.rows[asked.qid]
        grid = SnippetGrid(stride_s=2.0, window_s=2.0, count=len(self.rows))
        return VideoFeatures(video=asked, features=self.rows, grid=grid, duration_s=grid.end_s)


@pytest.mark.parametrize("name", ["moment_detr", "denoiseloc"])
def test_answers_do_not_depend_on_what_else_is_asked(name):
    model, rng = random_method(name), np.random.default_rng(0)
    ((stream, width),) = model.inputs.streams.items()
    specs = {stream: FeatureSpec(backbone="b", width=width)}
    text = FeatureSpec(backbone="t", width=model.inputs.text)
    package = Package(method=name, model=model, features=specs, thresholds={}, folder=Path("p"), text=text)
    queries = [Query(qid=str(number), video="v", text=f"question {number}") for number in range(9)]
    tokens = {each.qid: rng.normal(size=(3 + number % 4, text.width)) for number, each in enumerate(queries)}
    tokens = {qid: rows.astype(np.float32) for qid, rows in tokens.items()}
    video = _Folder(specs[stream], rng.normal(size=(40, width)).astype(np.float32))
    localizer = QueryLocalizer(package, text=_Folder(text, tokens), sources={stream: video})
    together = localizer.answer("v", queries)
    assert [each.query for each in together] == queries
    for query, found in zip(queries, together, strict=True):
        (alone,) = localizer.answer("v", [query])
        for column in ("start_s", "end_s", "score"):  # with four decimals, of which rounding may move the last
            np.testing.assert_allclose(getattr(found, column), getattr(alone, column), rtol=1e-5, atol=1.01e-4)
        np.testing.assert_allclose(found.saliency, alone.saliency, atol=1e-5)
