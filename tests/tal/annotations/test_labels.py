"""Labels of whole videos in every published form, and lists of classes."""

import pytest

from tal.annotations.labels import parse_classes, parse_labels
from tal.errors import AnnotationError

TWO = {"a": ("run",), "b": ("walk", "run")}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": "run", "b": ["walk", "run"]}', TWO),
        ('{"a": {"label": "run"}, "b": {"labels": "walk;run"}}', TWO),
        ('[{"id": "a", "label": "run"}, {"id": "b", "label": "walk"}, {"id": "b", "label": "run"}]', TWO),
        ('{"id": "a", "label": "run"}\n{"id": "b", "labels": ["walk", "run", "run"]}', TWO),
        ("video,label\na.mp4,run\nb.mp4,walk\nb.mp4,run\n", TWO),
        ("id,subject,actions,script,length\na,S,run 0 1,x,3\nb,S,walk 0 1;run 1 2;walk 2 3,x,9\n", TWO),
        (
            '{"database": {"a": {"annotations": [{"segment": [0, 1], "label": "run"}]}, "b": {"annotations": '
            '[{"segment": [0, 1], "label": "walk"}, {"segment": [0, 1], "label": "run"}]}}}',
            TWO,
        ),
        ("label,youtube_id,time_start,time_end,split\nclapping,xyz,0,10,val\n", {"xyz": ("clapping",)}),
        (
            '[{"id": "7", "label": "pushing a box", "template": "Pushing [something]", "placeholders": ["a box"]}]',
            {"7": ("Pushing something",)},
        ),
        ('[{"vid_name": "x_1", "label": 12, "start_frame": 0, "end_frame": 9}]', {"x_1": ("12",)}),
        ("some/x.mp4 3\nsome/y.mp4 0\n", {"x": ("3",), "y": ("0",)}),
        ("x.mp4,3,4\n", {"x": ("3", "4")}),
        ("frames/x 120 3\nframes/y 90 0\n", {"frames/x": ("3",), "frames/y": ("0",)}),
        ("Archery/v_Archery_g01_c01.avi\n", {"v_Archery_g01_c01": ("Archery",)}),
        ("Archery/v_Archery_g01_c01.avi 3\n", {"v_Archery_g01_c01": ("3",)}),
        ('{"a": [], "b": ["run"]}', {"a": (), "b": ("run",)}),
    ],
)
def test_every_form(content, expected):
    assert parse_labels(content.encode(), "f") == expected


def test_subsets():
    content = b"video,label,split\na,run,train\nb,walk,Test\n"
    assert parse_labels(content, "f", subset="test") == {"b": ("walk",)}
    with pytest.raises(AnnotationError, match="several subsets"):
        parse_labels(content, "f")
    with pytest.raises(AnnotationError, match="no entry of subset 'val'"):
        parse_labels(content, "f", subset="val")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"a": null}', "'a' has no labels"),
        ('{"a": {"score": 3}}', "'a' has no labels: it has score"),
        ('{"a": [null]}', "a label of"),
        ('[{"label": "run"}]', "names no video"),
        ("x/a.mp4 1\nx/a.mp4 2\n", "stands twice"),
        ("x/a.mp4 1\nb\n", "no label"),
    ],
)
def test_damaged_files_are_refused(content, told):
    with pytest.raises(AnnotationError, match=told):
        parse_labels(content.encode(), "f")


@pytest.mark.parametrize(
    ("content", "names", "index"),
    [
        ("run\nhigh jump\n", ("run", "high jump"), {"run": 0, "high jump": 1, "0": 0, "1": 1}),
        ("1 run\n2 high jump\n", ("run", "high jump"), {"run": 0, "high jump": 1, "1": 0, "2": 1}),
        ("c000 Hold\nc001 Put\n", ("Hold", "Put"), {"c000": 0, "c001": 1, "Hold": 0, "Put": 1, "0": 0, "1": 1}),
        ('["run", "walk"]', ("run", "walk"), {"run": 0, "walk": 1, "0": 0, "1": 1}),
        ('{"walk": "1", "run": "0"}', ("run", "walk"), {"run": 0, "walk": 1, "0": 0, "1": 1}),
        ("3 point shot\nrun\n", ("3 point shot", "run"), {"3 point shot": 0, "run": 1, "0": 0, "1": 1}),
    ],
)  # fmt: skip
def test_lists_of_classes(content, names, index):
    assert parse_classes(content.encode(), "f") == (names, index)


@pytest.mark.parametrize(
    ("content", "told"),
    [("run\nrun\n", "twice"), ('{"a": 0, "b": 2}', "gaps"), ('{"a": "x"}', "no list of classes")],
)
def test_damaged_lists_of_classes(content, told):
    with pytest.raises(AnnotationError, match=told):
        parse_classes(content.encode(), "f")
