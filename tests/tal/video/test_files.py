"""Which files are videos."""

import pytest

from tal.errors import TalError
from tal.video import list_videos


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.MKV", "sub/c.webm", "notes.txt", ".hidden.mp4", ".trash/d.mp4", "sub/e.mp4.part"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    return tmp_path


def test_a_folder_is_searched_below(folder):
    assert [path.relative_to(folder).as_posix() for path in list_videos([folder])] == ["a.MKV", "b.mp4", "sub/c.webm"]


def test_a_named_file_is_taken_whatever_its_suffix_and_only_once(folder):
    assert list_videos([folder / "notes.txt", folder / "b.mp4", folder / "b.mp4"]) == [
        folder / "notes.txt",
        folder / "b.mp4",
    ]
    assert len(list_videos([folder / "b.mp4", folder])) == 3


def test_what_does_not_exist(folder):
    with pytest.raises(TalError, match=r"nothing\.mp4: no such file or folder"):
        list_videos([folder / "nothing.mp4"])


def test_a_folder_without_videos(tmp_path):
    with pytest.raises(TalError, match="no videos in") as caught:
        list_videos([tmp_path])
    assert ".webm" in str(caught.value)
    with pytest.raises(TalError, match="empty list"):
        list_videos([])
