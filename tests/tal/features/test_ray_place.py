"""What the machines of a cluster must share is looked at; what is not there is told within seconds."""

import builtins
import time
from dataclasses import replace

import pytest

from tal.errors import TalError
from tal.features.cluster import place as place_module
from tal.features.cluster.connection import connected
from tal.features.cluster.place import marked
from tal.features.files import WriteError, remove_abandoned


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of this test, with a video and a store's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place_module, "_PATIENCE_S", 0.0)
    (tmp_path / "store").mkdir()
    (tmp_path / "v.mp4").write_bytes(b"frames")
    return tmp_path


def test_the_machine_itself_is_fit_and_nothing_stays(folder):
    with marked([folder / "store"], [folder / "v.mp4"]) as place:
        place.check()
        assert len(list((folder / "store").glob(".tmp-probe*"))) == 1
        remove_abandoned(folder / "store")
        place.check()
    assert not list((folder / "store").glob(".tmp-*"))


def test_another_folder_of_the_stores_name_is_noticed(folder):
    with marked([folder / "store"], []) as place:
        (folder / "store").rename(folder / "elsewhere")
        (folder / "store").mkdir()
        with pytest.raises(TalError, match=r"store on .* is not the folder") as caught:
            place.check()
    assert "share" in caught.value.expected


def test_videos_that_a_machine_does_not_have_are_noticed(folder):
    with marked([folder / "store"], [folder / "gone.mp4", folder / "v.mp4"]) as place:
        (folder / "v.mp4").write_bytes(b"others")
        place.check()
        (folder / "v.mp4").unlink()
        with pytest.raises(TalError, match=r"v\.mp4 is another file"):
            place.check()


def test_other_versions_are_noticed(folder):
    with marked([folder / "store"], []) as place:
        other = replace(place, versions={**place.versions, "torch": "1.0"})
        with pytest.raises(TalError, match="torch") as caught:
            other.check()
    assert "torch 1.0" in caught.value.expected


def test_a_store_that_cannot_be_written_is_told(folder):
    with pytest.raises(WriteError), marked([folder / "missing"], []):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "head", "ray://head:10001", "http://head:1", "head:port"])
def test_an_address_where_nothing_answers_is_told_within_seconds(address):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    began_s = time.monotonic()
    with pytest.raises(TalError, match=r"address|no Ray cluster"), connected(address):
        pass
    assert time.monotonic() - began_s < 30.0  # importing ray on a busy machine takes most of it


def test_without_ray_it_says_what_to_install(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **named):
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return whole(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TalError, match="ray") as caught, connected(None):
        pass
    assert "tal[ray]" in caught.value.todo
