"""Video-level scores from a file."""

import json

import pytest

from tal.errors import FeatureError
from tal.methods.video_scores import read_video_scores


@pytest.mark.parametrize("score", [float("nan"), -0.1, 7.5])
def test_what_is_no_probability_is_refused(tmp_path, score):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"fine": {"a": 0.0, "b": 1.0}, "v": {"a": 0.5, "b": score}}))
    with pytest.raises(FeatureError, match="scores of 'v' from"):
        read_video_scores(path, ("a", "b"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FeatureError, match="holds no video-level scores"):
        read_video_scores(tmp_path / "none.json", ("a",))


def test_files_of_published_classifiers(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(
        json.dumps({"class": ["b", "other", "a"], "results": {"v": [0.25, 0.5, 1.0], "w": [[0.0, 0, 0.5]]}})
    )
    found = read_video_scores(path, ("a", "b"))
    assert {video: row.tolist() for video, row in found.items()} == {"v": [1.0, 0.25], "w": [0.5, 0.0]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a json list"),
        ({"v": [0.1, 0.2]}, "'v' without the classes' names"),
        ({"v": {"a": 0.5}}, "no score of class 'b' for 'v'"),
        ({"v": {"A": 0.5, "b": 0.1}}, "no score of class 'a'"),
        ({"v": {"a": "high", "b": 0.1}}, "'v' that are no numbers"),
        ({"v": {"a": None, "b": 0.1}}, "'v' that are no numbers"),
        ({"class": ["a", "b"], "results": {"v": [0.5]}}, "1 scores of 'v'"),
        ({"class": [0, 1], "results": {"v": [0.5, 0.5]}}, "'class' without the classes' names"),
        ({"class": ["a", "b", "a"], "results": {"v": [0.5, 0.5, 0.1]}}, "'class' without the classes' names"),
        ({"class": ["a", "b"], "results": {"v": None}}, "a NoneType of 'v'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FeatureError, match=message):
        read_video_scores(path, ("a", "b"))
