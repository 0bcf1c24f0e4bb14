"""What tal extract may be pointed at, and what is told about it."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from tal.errors import TalError
from tal.pipelines.extract_inputs import in_shard, read_inputs


@pytest.fixture
def folder(tmp_path):
    """a.mp4, deep/b.mkv, v_c.mp4, and a file that is no video by its name."""
    for name in ("a.mp4", "deep/b.mkv", "v_c.mp4", "notes.txt"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "videos"


def names(inputs, folder):
    return {video: path.relative_to(folder).as_posix() for video, path in inputs.videos.items()}


ALL = {"a": "a.mp4", "b": "deep/b.mkv", "v_c": "v_c.mp4"}


def test_a_folder_a_glob_a_file_and_a_list_give_the_same(folder, monkeypatch):
    assert names(read_inputs([folder]), folder) == ALL
    assert names(read_inputs([f"{folder}/**/*.m*"]), folder) == ALL
    assert names(read_inputs([folder / "a.mp4", f"{folder}/deep", f"{folder}/v_?.mp4"]), folder) == ALL
    for end in ("\n", "\0", "\r\n"):
        text = "".join(f"{folder}/{name}{end}" for name in ALL.values())
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        assert names(read_inputs(["-"]), folder) == ALL


def test_a_list_may_name_what_is_not_there(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{folder}/a.mp4\n\n/gone/x.mp4\n".encode())))
    assert list(read_inputs(["-"]).videos) == ["a", "x"]  # it fails by itself, and is recorded


@pytest.mark.parametrize(
    ("text", "found", "missing"),
    [
        ("video,path\nx,a.mp4\ny,deep/b.mkv\n", {"x": "a.mp4", "y": "deep/b.mkv"}, []),
        ("path\na.mp4\n deep/b.mkv \n\n", {"a": "a.mp4", "b": "deep/b.mkv"}, []),
        ("File Name;Split\na.mp4;train\nz.mp4;val\n", {"a": "a.mp4"}, ["z"]),
        ("video_id\tsubset\na\ttrain\nc\tval\nnone\tval\n", {"a": "a.mp4", "c": "v_c.mp4"}, ["none"]),
        ("video,start,end,label\na,0,1,x\na,2,3,x\ndeep/b,0,1,y\n", {"a": "a.mp4", "deep/b": "deep/b.mkv"}, []),
        ("video\ndeep/b.mkv\n", {"b": "deep/b.mkv"}, []),
    ],
)
def test_tables(folder, tmp_path, text, found, missing):
    table = tmp_path / "list.csv"
    table.write_text(text)
    inputs = read_inputs([table], videos=folder)
    assert names(inputs, folder) == found
    assert list(inputs.missing) == missing
    assert len(inputs) == len(found) + len(missing)


def test_a_tables_paths_are_relative_to_it(folder):
    (folder / "list.csv").write_text("path,subset\na.mp4,train\ndeep/b.mkv,val\n")
    assert names(read_inputs([folder / "list.csv"]), folder) == {"a": "a.mp4", "b": "deep/b.mkv"}
    assert names(read_inputs([folder / "list.csv"], rule="path"), folder) == {
        "a.mp4": "a.mp4",
        "deep/b.mkv": "deep/b.mkv",
    }
    assert names(read_inputs([folder / "list.csv"], subset=["VAL"]), folder) == {"b": "deep/b.mkv"}
    with pytest.raises(TalError, match=r"no video is in subset test(.|\n)*train, val"):
        read_inputs([folder / "list.csv"], subset=["test"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end\n0,1\n", "no column for the videos"),
        ("video,path\nx\n", "row 2 has 1 cells"),
        ("video,path\n,\nx,a.mp4\ny,b,c\n", "row 4 has 3 cells"),
        ("video,path,note\n,,hello\n", "row 2 has neither"),
        ("video,path\nx,a.mp4\nx,deep/b.mkv\n", "'x' belongs to more than one file"),
        ("", "empty"),
    ],
)
def test_faulty_tables(folder, text, message):
    (folder / "list.csv").write_text(text)
    with pytest.raises(TalError, match=message):
        read_inputs([folder / "list.csv"])


def test_annotation_files_name_videos_by_id(folder, tmp_path):
    database = {
        video: {"subset": subset, "annotations": []}
        for video, subset in (("a", "training"), ("c", "training"), ("b", "validation"), ("gone", "validation"))
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"version": "1", "database": database}))
    inputs = read_inputs([path], videos=folder)
    assert names(inputs, folder) == {"a": "a.mp4", "c": "v_c.mp4", "b": "deep/b.mkv"}
    assert list(inputs.missing) == ["gone"]
    assert f"below {folder}" in inputs.missing["gone"]
    assert list(read_inputs([path], videos=folder, subset=["validation"]).ids()) == ["b", "gone"]
    nowhere = read_inputs([path])
    assert (len(nowhere.videos), len(nowhere.missing)) == (0, 4)
    assert "--videos" in nowhere.missing["a"]
    with pytest.raises(TalError, match="expected: a folder with videos"):
        read_inputs([path], videos=tmp_path / "none")


def test_mixed_inputs_count_each_file_once(folder, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("video,path\nmine,a.mp4\n")
    inputs = read_inputs([table, folder, folder / "v_c.mp4", f"{folder}/*.mp4"], videos=folder)
    assert names(inputs, folder) == {"mine": "a.mp4", "b": "deep/b.mkv", "v_c": "v_c.mp4"}
    assert inputs.repeated == 4  # a.mp4 twice more, v_c.mp4 twice more
    table.write_text("video,path\nb,a.mp4\n")
    with pytest.raises(TalError, match=r"'b' belongs to more than one file(.|\n)*its own id"):
        read_inputs([table, folder], videos=folder)


def test_one_id_for_two_files_is_told(folder):
    (folder / "deep/a.mp4").write_bytes(b"x")
    with pytest.raises(TalError, match="--id path"):
        read_inputs([folder])
    assert len(read_inputs([folder], rule="path")) == 4
    (folder / "ids.csv").write_text("video\na\n")
    with pytest.raises(TalError, match="2 files have this name"):
        read_inputs([folder / "ids.csv"], videos=folder)
    (folder / "ids.csv").write_text("video\ndeep/a\n")
    assert names(read_inputs([folder / "ids.csv"], videos=folder), folder) == {"deep/a": "deep/a.mp4"}


def test_words_that_mean_nothing(folder, tmp_path):
    for word, message in (
        (tmp_path / "nowhere", "no such file"),
        (f"{folder}/*.avi", "nothing has such a name"),
        (folder / "none.csv", "no such file"),
    ):
        with pytest.raises(TalError, match=message):
            read_inputs([word])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TalError, match="no videos"):
        read_inputs([tmp_path / "empty"])
    assert len(read_inputs([tmp_path / "empty", folder])) == 3


def test_shards_share_the_videos_and_adding_some_moves_none(tmp_path):
    for number in range(60):
        (tmp_path / f"v{number}.mp4").write_bytes(b"x")
    whole = read_inputs([tmp_path])
    parts = {number: in_shard(whole, f"{number}/4").ids() for number in range(1, 5)}
    assert sorted(video for part in parts.values() for video in part) == sorted(whole.ids())
    assert all(len(part) > 5 for part in parts.values())
    for number in range(60, 90):
        (tmp_path / f"v{number}.mp4").write_bytes(b"x")
    later = {number: read_inputs([tmp_path], shard=f"{number}/4").ids() for number in parts}
    assert all(set(parts[number]) <= set(later[number]) for number in parts)
    assert in_shard(read_inputs([tmp_path / "v0.mp4"]), "2/2").ids() == ["v0"]  # in every process and version


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_shards_that_are_none(folder, shard):
    with pytest.raises(TalError, match=r"i from 1 to n(.|\n)*from 1 on"):
        read_inputs([folder], shard=shard)


def test_links_to_one_file_count_once(folder):
    (folder / "linked").symlink_to(folder / "deep")
    (folder / "z.mp4").symlink_to(folder / "a.mp4")
    inputs = read_inputs([folder / "a.mp4", folder / "z.mp4", folder / "deep", folder / "linked"])
    assert names(inputs, folder) == {"a": "a.mp4", "b": "deep/b.mkv"}
    assert inputs.repeated == 2
