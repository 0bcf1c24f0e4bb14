"""A file is there whole or not at all."""

import os
import threading

import pytest

from tal.atomic import refuse_overwriting, replacing, write_text
from tal.errors import ConfigError


def _stopped_half_way(path):
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_bytes() == b"old\r\n"
        raise ValueError("half way")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "old\r\n")
    with pytest.raises(ValueError, match="half"):
        _stopped_half_way(path)
    assert path.read_bytes() == b"old\r\n"
    assert list(path.parent.iterdir()) == [path]
    with replacing(path, sync=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_refusal_of_the_system_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OSError, match=r"No space.*file\.txt"):
        write_text(tmp_path / "file.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_stays_a_pipe(tmp_path):
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_text()))
    reader.start()
    write_text(path, "text")
    reader.join()
    assert received == ["text"]
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_read_is_not_written(tmp_path):
    source, link = tmp_path / "a.json", tmp_path / "b.json"
    source.write_text("{}")
    link.symlink_to(source)
    refuse_overwriting([tmp_path / "new.json"], [source, None])
    for target in (source, link, f"{tmp_path}/./a.json"):
        with pytest.raises(ConfigError, match="is a file that is read"):
            refuse_overwriting([target], [tmp_path / "missing", source])
