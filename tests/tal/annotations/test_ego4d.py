"""Ego4D's moments, as published and as its baseline converts them."""

import json

import pytest

import tal
from tal.annotations import read_annotations
from tal.errors import AnnotationError


def _label(name, start, end, primary=True):
    return {"label": name, "start_time": start, "end_time": end, "primary": primary}


PUBLISHED = {
    "version": "v1",
    "videos": [
        {
            "video_uid": "v",
            "split": "val",
            "clips": [
                {
                    "clip_uid": "c1",
                    "video_start_sec": 100.0,
                    "video_end_sec": 160.0,
                    "annotations": [
                        {"labels": [_label("cut_dough", 1.0, 5.0), _label("knead", 1.0, 5.0, primary=False)]},
                        {"labels": [_label("cut_dough", 20.0, 30.0)]},
                    ],
                },
                {"clip_uid": "c2", "video_start_sec": 0.0, "video_end_sec": 9.0, "annotations": []},
            ],
        }
    ],
}
CONVERTED = {
    "c1": {
        "clip_id": "c1",
        "subset": "val",
        "parent_start_sec": 100.0,
        "parent_end_sec": 160.0,
        "annotations": [_label("cut_dough", 1.0, 5.0), _label("cut_dough", 20.0, 30.0)],
    }
}


@pytest.mark.parametrize("content", [PUBLISHED, CONVERTED])
def test_both_files_give_the_clips_with_their_primary_labels(tmp_path, content):
    path = tmp_path / "moments_val.json"
    path.write_text(json.dumps(content))
    found = read_annotations(path)
    assert found.format == "ego4d"
    assert found.classes == ("cut_dough",)
    (record,) = found.videos.values()
    assert (record.video, record.subset, record.duration_s) == ("c1", "val", 60.0)
    assert record.instances.start_s.tolist() == [1.0, 20.0]
    results = tmp_path / "p.json"
    results.write_text(json.dumps({"results": {"c1": [{"segment": [1, 5], "label": "cut_dough", "score": 0.5}]}}))
    metrics = tal.evaluate("ego4d-mq", path, results).metrics
    assert metrics["Recall@1x@0.50"] == metrics["mAP"] == 0.5


def test_a_clip_without_times_is_refused(tmp_path):
    path = tmp_path / "moments_val.json"
    broken = {"videos": [{"split": "val", "clips": [{"clip_uid": "c1", "annotations": []}]}]}
    path.write_text(json.dumps(broken))
    with pytest.raises(AnnotationError, match="video_start_sec"):
        read_annotations(path)
