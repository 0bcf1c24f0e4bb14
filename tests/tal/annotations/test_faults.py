"""Faults are found where they were put, counted, and cleaned as chosen."""

from pathlib import Path

import pytest

from tal.annotations import Annotations, VideoRecord, read_annotations
from tal.annotations.faults import KINDS, FaultPolicy, clean, find_faults
from tal.errors import AnnotationError
from tal.segments import Segments

CASES = Path(__file__).parents[3] / "../shared/cases/temporal"

ROWS = [
    (1.0, 2.0, 0, None),
    (1.0005, 2.0, 0, "duplicated"),
    (1.0, 2.0, 1, None),
    (float("nan"), 2.0, 0, "not_a_number"),
    (3.0, 4.0, -1, "unknown_label"),
    (-1.0, 2.0, 0, "negative"),
    (6.0, 5.0, 0, "reversed"),
    (6.0, 6.0, 0, "empty"),
    (8.0, 11.0, 0, "past_end"),
    (12.0, 13.0, 0, "past_end"),
]


def _annotations(rows=ROWS, duration_s=10.0):
    instances = Segments(
        start_s=[row[0] for row in rows],
        end_s=[row[1] for row in rows],
        label=[row[2] for row in rows],
        classes=("run", "walk"),
        extra={"unknown_label": ["fly" if row[2] < 0 else "" for row in rows]},
    )
    record = VideoRecord(video="v", duration_s=duration_s, instances=instances, cycles_s={2: ((1.0, 2.0),), 7: ()})
    return Annotations(classes=("run", "walk"), videos={"v": record})


def test_each_fault_is_found_once():
    report = find_faults(_annotations())
    assert {fault.row_idx: fault.kind for fault in report.faults} == {
        row_idx: row[3] for row_idx, row in enumerate(ROWS) if row[3]
    }
    assert report.counts == {kind: 2 if kind == "past_end" else 1 for kind in KINDS}
    assert report.instances == len(ROWS)
    assert "v: fly from 3 to 4 s" in [str(fault) for fault in report.faults]
    assert "v: run from 8 to 11 s (the video ends at 10 s)" in [str(fault) for fault in report.faults]


def test_without_a_duration_nothing_is_past_the_end():
    assert "past_end" not in find_faults(_annotations(duration_s=None)).counts


def test_the_default_policy_drops_and_clips():
    cleaned, report = clean(_annotations())
    rows = cleaned.videos["v"].instances
    assert list(zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.label.tolist(), strict=True)) == [
        (1.0, 2.0, 0),
        (1.0, 2.0, 1),
        (0.0, 2.0, 0),
        (8.0, 10.0, 0),
    ]
    assert cleaned.videos["v"].cycles_s == {1: ((1.0, 2.0),)}
    assert report.instances == 4
    assert report.done["past_end", "clip"] == 2
    assert report.done["outside", "drop"] == 1
    assert find_faults(cleaned).counts == {}


def test_other_policies():
    swapped, _ = clean(
        _annotations(), FaultPolicy(reversed="swap", duplicated="keep", past_end="keep", negative="drop")
    )
    rows = swapped.videos["v"].instances
    spans = list(zip(rows.start_s.tolist(), rows.end_s.tolist(), strict=True))
    assert (5.0, 6.0) in spans
    assert (1.0005, 2.0) in spans
    assert (12.0, 13.0) in spans
    assert all(start >= 0 for start, _ in spans)
    with pytest.raises(AnnotationError, match="reversed: v: run from 6 to 5 s"):
        clean(_annotations(), FaultPolicy(reversed="error"))


def test_sound_annotations_are_left_as_they_are():
    annotations = _annotations(rows=[row for row in ROWS if row[3] is None])
    cleaned, report = clean(annotations)
    assert cleaned.videos["v"] is annotations.videos["v"]
    assert report.done == {}


@pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")
@pytest.mark.parametrize(("name", "without_length", "past_end"), [("multithumos", 37, 35), ("activitynet13", 12, 215)])
def test_faults_of_published_sets(name, without_length, past_end):
    annotations = read_annotations(CASES / f"{name}.annotations.json")
    counts = find_faults(annotations).counts
    assert counts.get("empty", 0) + counts.get("reversed", 0) == without_length
    assert counts["past_end"] == past_end
    assert find_faults(clean(annotations)[0]).counts == {}
