"""Scores of whole videos: every form gives the same rows."""

import io

import numpy as np
import pytest

from tal.annotations.class_scores import ClassScores, parse_scores
from tal.errors import AnnotationError


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


SCORE = np.array([[0.5, 0.25], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"a": {"run": 0.5, "walk": 0.25}, "b": {"run": 0, "walk": 1}}', True),
        (b'{"a": {"scores": {"run": 0.5, "walk": 0.25}}, "b": {"scores": {"run": 0, "walk": 1}}}', True),
        (
            b'{"results": {"a": [{"label": "run", "score": 0.5}, {"label": "walk", "score": 0.25}],'
            b' "b": [{"label": "run", "score": 0}, {"label": "walk", "score": 1}]}}',
            True,
        ),
        (b"video,run,walk\na.mp4,0.5,0.25\nb.mp4,0,1\n", True),
        (b"run;Video-ID;walk\n0.5;a.mp4;0.25\n\n0;b.mp4;1\n", True),
        (b'video,run,"walk"\na.mp4,0.5,0.25\nb.mp4,0,1\n', True),
        (b"video,label,score\na,run,0.5\nb,run,0\na,walk,0.25\nb,walk,1\n", True),
        (b'{"a": [0.5, 0.25], "b": [0, 1]}', False),
        (b'[{"video": "a", "scores": [0.5, 0.25]}, {"video": "b", "scores": [0, 1]}]', False),
        (b"a 0.5 0.25\nb 0 1\n", False),
        (b"a,0.5,0.25\nb,0,1e0\n", False),
        (_npz(scores=SCORE, videos=np.array(["a", "b"])), False),
        (_npz(scores=SCORE.astype(np.float32), videos=np.array(["a", "b"]), classes=np.array(["run", "walk"])), True),
        (_npz(a=SCORE[0], b=SCORE[1]), False),
    ],
)
def test_every_form(content, named):
    found = parse_scores(content, "f")
    assert found.videos == ("a", "b")
    assert found.classes == (("run", "walk") if named else None)
    assert found.score.tolist() == SCORE.tolist()


def test_classes_named_by_number_are_a_header():
    found = parse_scores(b"video,0,1\na,0.5,0.25\nb,0,1\n", "f")
    assert found.videos == ("a", "b")
    assert found.classes == ("0", "1")


def test_clips_and_absent_scores():
    found = parse_scores(b'[{"id": "a", "scores": [1, 2]}, {"id": "a", "scores": [3, 4]}]', "f")
    assert found.videos == ("a", "a")
    found = ClassScores.from_mapping({"a": [[1.0, 2.0], [3.0, 4.0]], "b": np.array([5.0, 6.0])})
    assert found.videos == ("a", "a", "b")
    found = parse_scores(b'{"a": {"run": 1}, "b": {"walk": 2}}', "f")
    assert found.absent == 2
    assert np.isneginf(found.score).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a": [1, 2], "b": [1]}', "1 scores, others have 2"),
        (b'{"a": []}', "0 scores"),
        (b'{"a": [1, NaN]}', "1 rows hold NaN, the first is of video 'a'"),
        (b'{"a": [1, "x"]}', "'x' is no number"),
        (b'{"a": {"run": NaN}}', "class 'run'(.|\n)*finite number"),
        (b'{"a": {"run": "x"}}', "no number"),
        (b'{"a": 3}', "3 for all classes"),
        (b"video,label,score\na,run,0.5\na,run,0.6\n", "two scores of 'run'"),
        (b"video,run,walk\na,0.5,nan\n", "class 'walk'"),
        (b"video,run,walk\na,0.5,x\n", "'x' is no number"),
        (b"video,run,walk\na,0.5\n", "line 2 has 2 cells"),
        (b'{"results": {"a": [{"label": "run", "score": 1}, {"label": "run", "score": 1}]}}', "two scores"),
        (b'{"results": {"a": [{"label": "run"}]}}', "mixes kinds"),
        (b"[[1, 2]]", "names no video"),
        (b'{"a": {}}', "no class has a score"),
        (b'{"database": {"a": {"annotations": []}}}', "exchanged"),
        (_npz(scores=SCORE, videos=np.array(["a"])), r"videos \(1,\)"),
        (_npz(scores=SCORE, videos=np.array(["a", "b"]), classes=np.array(["x"])), "1 classes for 2"),
        (_npz(scores=SCORE * np.nan, videos=np.array(["a", "b"])), "2 rows hold NaN"),
    ],
)
def test_damaged_files_are_refused(content, told):
    with pytest.raises(AnnotationError, match=told):
        parse_scores(content, "f")
