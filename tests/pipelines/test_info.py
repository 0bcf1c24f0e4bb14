"""`tal info`, as it is typed."""

import json
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tal.cli import main
from tal.pipelines import info


def test_the_machine(capsys):
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    assert "decoder pyav" in told
    assert "usable: FFmpeg" in told
    assert sys.version.split()[0] in told


def test_the_machine_as_json(capsys):
    assert main(["info", "--json", "-"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "tal.info/1"
    assert facts["decoders"]["pyav"]["usable"] is True
    assert facts["cores"] >= 1
    extra = facts["decoders"]["torchcodec"]
    assert extra["usable"] == (find_spec("torchcodec") is not None)
    assert ("libavcodec" if extra["usable"] else "not installed") in extra["about"]
    assert set(facts["gpu"]) in ({"usable", "why"}, {"usable", "names"})


def test_every_extra_is_listed_with_its_versions_or_why_it_cannot_be_used(capsys):
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra in set(declared["optional-dependencies"]) - {"dev"}:
        assert f"extra {extra} " in told
    for there in info._extras().values():
        reasons = ("not installed", "cannot be", "is needed", "finds")
        assert there["usable"] != any(reason in there["about"] for reason in reasons)


@pytest.mark.parametrize(
    ("version", "why"),
    [(None, "ray is not installed; pip install 'tal[ray]'"), ("1.0", "ray is 1.0, >=2.40 is needed")],
)
def test_an_extra_that_is_missing_or_old(monkeypatch, version, why):
    known = info._version
    monkeypatch.setattr(info, "_version", lambda name: version if name == "ray" else known(name))
    extra = info._extras()["ray"]
    assert not extra["usable"]
    assert extra["about"].startswith(why)


def test_an_extra_whose_library_does_not_load(monkeypatch):
    def refused(name):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(info, "import_module", refused)
    monkeypatch.setattr(info, "_version", lambda name: "99")
    monkeypatch.setattr("packaging.specifiers.SpecifierSet.contains", lambda *_, **__: True)
    extra = info._extras()["mmaction2"]
    assert extra == {"usable": False, "about": "cv2 cannot be loaded: libGL.so.1: cannot open shared object file"}


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems show no signs of a GPU that could be looked at first"
)
def test_torch_is_not_imported_where_no_gpu_is():
    script = (
        "import shutil, sys, pathlib; shutil.which = lambda name: None; pathlib.Path.exists = lambda path: False\n"
        "from tal.pipelines.info import _gpu\n"
        "print(_gpu()['why'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "no GPU driver found False\n"


def test_a_video(make_video, tmp_path, capsys):
    path = make_video(tmp_path / "a.mp4", frames=50, audio=True, rotation=90)
    assert main(["info", str(path), "--json", str(tmp_path / "facts.json")]) == 0
    told = capsys.readouterr().out
    for words in ("2.000 s, 50 frames", "constant rate, 25 frames", "turned 270 degrees", "aac, 16000 Hz, 1 channels"):
        assert words in told
    [facts] = json.loads((tmp_path / "facts.json").read_text())["videos"]
    assert (facts["codec"], facts["frame_count"], facts["duration_s"], facts["rotation_deg"]) == ("h264", 50, 2.0, 270)
    assert "times_s" not in facts


def test_one_that_fails_among_others_is_told_and_makes_it_exit_1(make_video, tmp_path, capsys):
    make_video(tmp_path / "good.mp4", frames=5)
    (tmp_path / "bad.mp4").write_bytes(b"")
    assert main(["info", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "the file is empty" in told
    assert "5 frames" in told


def test_one_alone_that_fails_is_a_misuse(tmp_path, capsys):
    assert main(["info", str(tmp_path / "nothing.mp4")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["text", "sound_only", "index_cut_off"])
def test_bad_files_give_no_traceback(bad_videos, capsys, kind):
    assert main(["info", str(bad_videos[kind])]) == 2
    caught = capsys.readouterr()
    assert caught.err.startswith(f"tal: {bad_videos[kind]}: open failed")
    assert "Traceback" not in caught.err + caught.out
