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
