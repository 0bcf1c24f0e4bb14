"""Ids from files, and file names from ids."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal.errors import TalError
from tal.video import assign_ids, safe_name

anything = st.text(min_size=1, max_size=300)


def test_stem_is_the_default():
    paths = [Path("a/one.mp4"), Path("b/two.v2.webm")]
    assert assign_ids(paths, [Path("a"), Path("b")]) == {"one": paths[0], "two.v2": paths[1]}


def test_two_files_with_one_id_are_listed():
    with pytest.raises(TalError, match="1 video ids belong to more than one file") as caught:
        assign_ids([Path("a/x.mp4"), Path("b/y.mp4"), Path("b/x.webm")], [Path(".")])
    text = str(caught.value)
    assert str(Path("a/x.mp4")) in text
    assert str(Path("b/x.webm")) in text
    assert "y.mp4" not in text
    assert "--id path" in text


def test_path_is_relative_to_the_folder_that_was_named(tmp_path):
    paths = [tmp_path / "a/x.mp4", tmp_path / "b/x.webm", tmp_path / "b/c/x.mp4"]
    ids = assign_ids(paths, [tmp_path], "path")
    assert ids == {"a/x.mp4": paths[0], "b/x.webm": paths[1], "b/c/x.mp4": paths[2]}


def test_path_takes_the_innermost_folder(tmp_path):
    path = tmp_path / "b/c/x.mp4"
    assert list(assign_ids([path], [tmp_path, tmp_path / "b"], "path")) == ["c/x.mp4"]


def test_path_of_a_file_named_itself_is_its_name(tmp_path):
    path = tmp_path / "b/x.mp4"
    assert list(assign_ids([path], [path], "path")) == ["x.mp4"]
    with pytest.raises(TalError, match="name one folder that holds them all"):
        assign_ids([path, tmp_path / "a/x.mp4"], [path, tmp_path / "a/x.mp4"], "path")


def test_path_ids_never_climb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(assign_ids([Path("../elsewhere/x.mp4")], [Path("../elsewhere")], "path")) == ["x.mp4"]


def test_unknown_rule():
    with pytest.raises(TalError, match="unknown id rule 'name'"):
        assign_ids([Path("x.mp4")], [], "name")


@given(anything)
def test_a_safe_name_is_one_plain_file_name(video):
    name = safe_name(video)
    assert 1 <= len(name.encode()) <= 180
    assert not set(name) & set('/\\:*?"<>|.\0\n\r\t')
    assert name.strip() == name
    assert name.isprintable()
    assert Path(name).name == name
    assert name.split(".")[0].lower() not in ("con", "nul", "aux", "prn", "com1", "lpt9")


@given(anything, anything)
def test_different_ids_have_different_names(one, other):
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(st.from_regex(r"[A-Za-z0-9_\-]{4,60}", fullmatch=True))
def test_ordinary_ids_stay_as_they_are(video):
    assert safe_name(video) == video


@pytest.mark.parametrize(
    "video", ["..", ".", "/etc/passwd", "a/../../b", "C:\\x", "a\0b", ".hidden", "nul", "COM1", "~"]
)
def test_names_that_mean_something_stay_inside_the_folder(tmp_path, video):
    path = tmp_path / f"{safe_name(video)}.npy"
    path.write_bytes(b"x")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.resolve().parent == tmp_path.resolve()
    assert not path.name.startswith(".")


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("a/b.mp4", "a%2Fb%2Emp4"),
        ("50%", "50%25"),
        ("v_abc (1)", "v_abc (1)"),
        ("Café 日本", "Café 日本"),
        ("a.failed", "a%2Efailed"),
        ("nul", "%6Eul"),
        (" a ", "%20a%20"),
    ],
)
def test_examples(video, name):
    assert safe_name(video) == name


@given(anything)
def test_a_name_with_dots_is_one_plain_file_name(video):
    name = safe_name(video, dots=True)
    assert 1 <= len(name.encode()) <= 180
    assert not set(name) & set('/\\:*?"<>|\0\n\r\t')
    assert not name.startswith(".")
    assert Path(name).name == name


@given(anything, anything)
def test_different_ids_have_different_names_with_dots(one, other):
    assert (safe_name(one, dots=True) == safe_name(other, dots=True)) == (one == other)


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("my clip.v2", "my clip.v2"),
        ("a/b.mp4", "a%2Fb.mp4"),
        ("..", "%2E."),
        (".hidden.x", "%2Ehidden.x"),
        ("nul.x", "%6Eul.x"),
        ("50%2E", "50%252E"),
    ],
)
def test_examples_with_dots(video, name):
    assert safe_name(video, dots=True) == name


def test_a_long_id_keeps_a_readable_beginning_and_stays_distinct():
    one, other = safe_name("x" * 400 + "1"), safe_name("x" * 400 + "2")
    assert one.startswith("x" * 100)
    assert one != other
    assert len(one) <= 180
    assert len(safe_name("日" * 100).encode()) <= 180


def test_an_empty_id_is_refused():
    with pytest.raises(TalError, match="empty video id"):
        safe_name("")
