"""The torchmetrics faces: the numbers of the functions on arrays, however the videos come and are shared out."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torchmetrics import Metric

from tal.errors import ConfigError
from tal.metrics import counting, detection, grounding, moments, precision, proposals, recognition
from tal.metrics.torch_counting import CountingError
from tal.metrics.torch_grounding import GroundingRecall
from tal.metrics.torch_online import OnlineDetection
from tal.metrics.torch_recognition import MultilabelMAP, TopKAccuracy
from tal.metrics.torch_segments import DetectionMAP, ProposalRecall
from tal.ops.tubes import FrameTube
from tal.segments import Segments

from .face_cases import CASES

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")

CLASSES = ("a", "b", "c")
TIOU = (0.3, 0.5)
COUNT = 9
FACES = ("detection", "proposals", "top-k", "multi-label", "grounding", "counting", *CASES)


def _segments(rng, count, *, scored=True):
    start_s = rng.integers(0, 20, count) / 2
    return Segments(
        start_s=start_s,
        end_s=start_s + rng.integers(0, 8, count) / 2,
        label=rng.integers(0, len(CLASSES), count),
        score=rng.integers(0, 6, count) / 6 if scored else None,
        classes=CLASSES,
    )


def _videos(seed=0):
    """Per face the arguments of `update` for each item: ties, no predictions and no ground truth among them."""
    rng = np.random.default_rng(seed)
    items = {name: [] for name in FACES}
    for _ in range(COUNT):
        found, truth = _segments(rng, rng.integers(0, 9)), _segments(rng, rng.integers(0, 4), scored=False)
        items["detection"].append((found, truth))
        items["proposals"].append((found, truth))
        items["top-k"].append((rng.integers(0, 4, 3) / 3, rng.integers(0, 3)))
        items["multi-label"].append((rng.integers(0, 4, 3) / 3, rng.random(3) < 0.4))
        items["grounding"].append((found, _segments(rng, rng.integers(1, 3), scored=False)))
        items["counting"].append((rng.random() * 9, rng.integers(0, 9)))
    for name, case in CASES.items():
        items[name] = [case.item(rng) for _ in range(COUNT)]
    return items


def _faces():
    return {
        "detection": DetectionMAP(3, TIOU),
        "proposals": ProposalRecall((1, 2), TIOU, limit=2),
        "top-k": TopKAccuracy(3, (1, 2)),
        "multi-label": MultilabelMAP(3),
        "grounding": GroundingRecall((1, 2), TIOU),
        "counting": CountingError(),
    } | {name: case.face() for name, case in CASES.items()}


def _arguments(name, items):
    if name in CASES:
        return CASES[name].arguments(items)
    predictions, truth = zip(*items, strict=True) if items else ((), ())
    if name in ("top-k", "multi-label"):
        wide = np.array(truth).reshape((-1, 3) if name == "multi-label" else -1)
        return torch.tensor(np.reshape(predictions, (-1, 3))), torch.tensor(wide)
    if name == "counting":
        return torch.tensor(predictions, dtype=torch.float64), torch.tensor(truth)
    return list(predictions), list(truth)


def _feed(face, name, items, numbers, *, at_once=2, named=True):
    for first in range(0, len(numbers), at_once):
        chosen = numbers[first : first + at_once]
        face.update(*_arguments(name, [items[number] for number in chosen]), chosen if named else None)


def _computed(items, numbers=range(COUNT)):
    faces = _faces()
    for name, face in faces.items():
        _feed(face, name, items[name], list(numbers))
    return {name: face.compute() for name, face in faces.items()}


def _rows(parts, *, scored):
    return detection.Rows(
        video_idx=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        start_s=np.concatenate([part.start_s for part in parts]),
        end_s=np.concatenate([part.end_s for part in parts]),
        score=np.concatenate([part.score for part in parts]) if scored else None,
    )


def _windows(parts):
    rows = _rows(parts, scored=False)
    return moments.Windows(query_idx=rows.video_idx, start_s=rows.start_s, end_s=rows.end_s)


def _from_arrays(items):
    """What the functions on arrays give."""
    found, truth = zip(*items["detection"], strict=True)
    found, truth = _rows(found, scored=True), _rows(truth, scored=False)
    pairs = detection.overlaps(truth, found, TIOU, class_count=3)
    means = np.nanmean(detection.average_precision(pairs), axis=1)
    curve = proposals.recall_curve(truth, found, TIOU, limit=2)
    score, label = map(np.array, zip(*items["top-k"], strict=True))
    rank = recognition.label_rank(score, label)
    scores, right = map(np.array, zip(*items["multi-label"], strict=True))
    by_class = [precision.ranking_ap(s, r) for s, r in zip(scores.T, right.T, strict=True)]
    windows, spans = map(_windows, zip(*items["grounding"], strict=True))
    recall = grounding.recall(spans, windows, TIOU, (1, 2), query_count=COUNT)
    predicted, true = zip(*items["counting"], strict=True)
    return {
        "detection": {"mAP": means.mean(), "mAP@0.30": means[0], "mAP@0.50": means[1]},
        "proposals": {"AR@1": curve.at(1), "AR@2": curve.at(2), "AUC": curve.area},
        "top-k": {
            "top1": (rank < 1).mean(),
            "top2": (rank < 2).mean(),
            "mean-class-accuracy": np.nanmean(recognition.class_accuracy(rank == 0, label, class_count=3)),
        },
        "multi-label": {"mAP": np.nanmean(by_class)},
        "grounding": {
            "R1@0.30": recall[0, 0],
            "R1@0.50": recall[1, 0],
            "R2@0.30": recall[0, 1],
            "R2@0.50": recall[1, 1],
            "mIoU": moments.first_overlaps(spans, windows, query_count=COUNT).mean(),
        },
        "counting": {
            "MAE": counting.relative_error(predicted, true).mean(),
            "OBO": counting.within(predicted, true).mean(),
        },
    } | {name: case.expected(items[name]) for name, case in CASES.items()}


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_the_functions_on_arrays(seed):
    assert _computed(_videos(seed)) == _from_arrays(_videos(seed))


def test_order_and_repetition_do_not_matter():
    items = _videos()
    once = _computed(items)
    assert _computed(items, list(reversed(range(COUNT)))) == once
    assert _computed(items, [*range(COUNT), 0, 3, 3]) == once


@pytest.mark.parametrize("name", FACES)
def test_life_of_a_face(name):
    items, face = _videos()[name], _faces()[name]
    expected = _from_arrays(_videos())[name]
    _feed(face, name, items, list(range(4)), named=False)
    face.half().float().set_dtype(torch.float16)
    states = [state for table in face.metric_state.values() for state in table]
    assert {state.dtype for state in states} == {torch.int64}  # No device and no precision can round it.
    face = pickle.loads(pickle.dumps(face))  # noqa: S301
    first = face(*_arguments(name, items[4:6]))  # a step's own value
    assert set(first) == set(expected)
    _feed(face, name, items, list(range(6, COUNT)), named=False)
    assert face.compute() == expected
    face.update(*_arguments(name, []))
    assert face.compute() == expected
    face.reset()
    assert all(np.isnan(value) for value in face.compute().values())
    assert isinstance(face, Metric)


def test_names_and_tensors():
    items = _videos()["detection"]
    by_name, by_tensor = DetectionMAP(3, TIOU), DetectionMAP(3, TIOU)
    for number, (found, truth) in enumerate(items):
        by_name.update([found], [truth], [f"video {number}"])
        by_name.update([found], [truth], ["video 0"])
        tensors = [
            {
                "segments": torch.tensor(np.stack([each.start_s, each.end_s], 1)),
                "labels": torch.tensor(each.label),
                "scores": torch.tensor(each.score),
            }
            for each in (found, truth)
        ]
        by_tensor.update(tensors[:1], tensors[1:], torch.tensor([number]))
    expected = _from_arrays(_videos())["detection"]
    assert by_tensor.compute() == expected
    assert by_name.compute() == pytest.approx(expected, abs=0.2)  # Ties between videos come in another order.
    windows = GroundingRecall((1,), (0.5,))
    windows.update([torch.tensor([[0.0, 2.0, 0.9]]), torch.empty(0, 3)], [[[0.0, 3.0]], [1.0, 2.0]])
    assert windows.compute() == {"R1@0.50": 0.5, "mIoU": 1 / 3}
    agnostic = ProposalRecall((1,), (0.5,))
    agnostic.update([{"segments": torch.tensor([[0.0, 1.0]]), "scores": torch.tensor([1.0])}], [items[0][1]], ["v"])


def test_misuse_leaves_a_face_as_it_was():
    face = DetectionMAP(3, TIOU)
    found, truth = Segments.empty(CLASSES), _segments(np.random.default_rng(0), 2, scored=False)
    one = {"segments": torch.ones(1, 2), "scores": torch.ones(1), "labels": torch.zeros(1)}
    for update, told in (
        (([found], []), "of 1 videos and truth of 0"),
        (([found], [truth], ["a", "b"]), "2 names for 1"),
        (([found], [truth], [-1]), "item -1"),
        (([one | {"scores": torch.tensor([torch.nan])}], [truth]), "NaN"),
        (([one | {"labels": torch.tensor([3])}], [truth]), "labels from 3 to 3"),
        (([{"segments": torch.ones(1, 2), "labels": torch.zeros(1)}], [truth]), "a video with segments, labels"),
        (([one | {"scores": torch.ones(2)}], [truth]), "columns of"),
    ):
        with pytest.raises(ConfigError, match=told):
            face.update(*update)
    assert np.isnan(face.compute()["mAP"])
    for other, update, told in (
        (TopKAccuracy(3), (torch.ones(2, 4), torch.zeros(2)), "shape"),
        (TopKAccuracy(3), (torch.ones(2, 3), torch.zeros(3)), "3 labels of 2"),
        (TopKAccuracy(3), (torch.ones(2, 3), torch.tensor([0, 3])), "labels from 0 to 3"),
        (MultilabelMAP(3), (torch.ones(2, 3), torch.zeros(2)), "labels of shape"),
        (GroundingRecall(), ([torch.ones(1, 2)], [torch.empty(0, 2)]), "without a true window"),
        (GroundingRecall(), ([torch.ones(3)], [torch.ones(1, 2)]), "windows of shape"),
        (CountingError(), (torch.ones(2), torch.ones(3)), "2 videos and truth of 3"),
    ):
        with pytest.raises(ConfigError, match=told):
            other.update(*update)
    boxes = {"boxes": torch.ones(1, 4), "labels": torch.zeros(1), "scores": torch.ones(1)}
    segments = {"segments": torch.ones(1, 2), "scores": torch.ones(1)}
    pixels = torch.ones(2, 2)
    for other, update, told in (
        (CASES["frames"].face(), ([torch.ones(2, 3)], [torch.ones(3, 3)]), "scores of shape .2, 3. and labels"),
        (CASES["frames"].face(), ([torch.full((2, 3), torch.nan)], [torch.ones(2, 3)]), "scores with NaN"),
        (CASES["boxes"].face(), ([boxes], [boxes | {"labels": torch.tensor([3])}]), "labels from 3 to 3"),
        (CASES["boxes"].face(), ([{"boxes": torch.ones(1, 4)}], [boxes]), "expected: labels, scores too"),
        (CASES["tubes"].face(), ([[FrameTube(frames=[1], boxes=[[0, 0, 1, 1]])]], [[]]), "labels from -1"),
        (CASES["moments"].face(), ([torch.ones(1, 2)], [torch.ones(1, 2)]), "expected: .N, 3."),
        (CASES["highlights"].face(), ([torch.ones(2)], [torch.ones(3, 3)]), "saliency of 2 clips and truth of 3"),
        (CASES["onset"].face(), (torch.ones(1, 2), torch.full((1, 2), torch.nan)), "truth with NaN"),
        (OnlineDetection(1), ([segments], [segments]), "without 'generation_time'"),
        (CASES["plans"].face(), (torch.ones(2, 3), torch.ones(2, 4)), "plans of shape"),
        (CASES["quality"].face(), (torch.ones(2), torch.tensor([1, torch.nan])), "truth with NaN"),
        (CASES["progress"].face(), ([[0.5, torch.nan]],), "values with NaN"),
        (CASES["masks"].face(), ([pixels], [torch.ones(2, 3)], [{}]), "index maps of shapes"),
        (CASES["masks"].face(), ([pixels * 256], [pixels], [{1: True}]), "indices from 1 to 256"),
    ):
        with pytest.raises(ConfigError, match=told):
            other.update(*update)
        assert all(np.isnan(value) for value in other.compute().values())
    with pytest.raises(ConfigError, match="AR@N at 1, 200"):
        ProposalRecall((1, 200))


SHARES = ([[0, 2, 4, 6, 8], [1, 3, 5, 7, 0]], [list(range(COUNT)), []], [[], [8, 7, 6, 5, 4, 3, 2, 1, 0]])


def _process(rank, folder):
    """One of two: for each way of sharing the videos, what every face computes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    items, found = _videos(), []
    for share in SHARES:
        faces = _faces()
        for name, face in faces.items():
            _feed(face, name, items[name], share[rank])
        found.append({name: face.compute() for name, face in faces.items()})
        again = faces["detection"]
        again.update(*_arguments("detection", items["detection"][:1]), [0])  # Goes on where it stood before.
        found[-1]["detection"] = again.compute()
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # New processes import this file by its name,
    torch.multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])  # and torchmetrics once for all.
    torch.multiprocessing.start_processes(_process, (str(tmp_path),), nprocs=2, start_method="forkserver")
    expected = _from_arrays(_videos())
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == [expected] * len(SHARES)
