"""`tal localize` as typed: what it writes, what it says, and what it does with bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tal.annotations.results import read_results
from tal.cli import main
from tal.features.extractor import extract_video
from tal.features.layout import Layout
from tal.features.store import FeatureStore
from tal.localization import Localizer
from tal.methods.inference import detect
from tal.package import load_model


@pytest.fixture
def clip(tmp_path, make_video):
    return make_video(tmp_path / "videos" / "a clip #1.mp4", frames=150)


def run(*words):
    return main(["localize", *map(str, words)])


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_many_videos_in_one_process(tmp_path, make_video, clip, toy_package, capsys):
    old = make_video(tmp_path / "videos" / "deep" / "old.avi", codec="mpeg4", frames=60)
    out = tmp_path / "out"
    assert run(tmp_path / "videos", "--model", toy_package, "--out", out, "--threshold", "0", "--embed-mb", "0") == 0
    (copy,) = (out / "media").iterdir()
    assert copy.name.startswith("old-")
    assert files_in(out) == [
        "a clip #1.srt",
        "a clip #1.vtt",
        f"media/{copy.name}",
        "old.srt",
        "old.vtt",
        "predictions.csv",
        "predictions.json",
        "report.html",
    ]
    found = read_results(out / "predictions.json")
    assert set(found) == {"a clip #1", old.stem}
    page = (out / "report.html").read_text()
    assert "../videos/a%20clip%20%231.mp4" in page
    assert f"media/{copy.name}" in page
    assert (out / "a clip #1.vtt").read_text().count("-->") == len(found["a clip #1"])
    said = capsys.readouterr().out
    assert f"{sum(map(len, found.values()))} detections in 2 videos" in said
    assert str(out / "report.html") in said


def test_subtitles_are_called_as_the_video_is(tmp_path, make_video, toy_package):
    video = make_video(tmp_path / "my clip.v2.mp4", frames=20)
    assert run(video, "--model", toy_package, "--out", tmp_path / "out", "--no-report") == 0
    assert {"my clip.v2.vtt", "my clip.v2.srt"} < set(files_in(tmp_path / "out"))


def test_every_output_holds_the_detections_worth_showing(tmp_path, clip, toy_package):
    counts = {}
    for threshold in (None, 0, 0.4):
        out = tmp_path / f"out{threshold}"
        words = [] if threshold is None else ["--threshold", threshold]
        assert run(clip, "--model", toy_package, "--out", out, *words) == 0
        rows = len(read_results(out / "predictions.json")["a clip #1"])
        assert len((out / "predictions.csv").read_text().splitlines()) == rows + 1
        counts[threshold] = rows
    assert counts[0] > counts[None] > counts[0.4] > 0


def test_a_small_video_is_held_in_the_page(tmp_path, clip, toy_package):
    assert run(clip, "--model", toy_package, "--out", tmp_path / "out") == 0
    assert "data:video/mp4;base64," in (tmp_path / "out" / "report.html").read_text()


def test_no_report(tmp_path, clip, toy_package):
    assert run(clip, "--model", toy_package, "--out", tmp_path / "out", "--no-report") == 0
    assert not (tmp_path / "out" / "report.html").exists()


def test_ground_truth_on_the_page(tmp_path, clip, toy_package):
    labels = tmp_path / "labels.csv"
    labels.write_text("video,start,end,label\na clip #1,1.0,2.0,jump\n")
    assert run(clip, "--model", toy_package, "--out", tmp_path / "out", "--annotations", labels) == 0
    assert '"truth":[[1.0,2.0,' in (tmp_path / "out" / "report.html").read_text()


def test_failed_videos_are_listed_and_the_others_done(tmp_path, bad_videos, clip, toy_package, capsys):
    out = tmp_path / "out"
    assert run(bad_videos["noise"], bad_videos["empty"], clip, "--model", toy_package, "--out", out) == 1
    said = capsys.readouterr().out
    assert "in 1 video: " in said
    assert "failed: noise: open failed" in said
    assert "failed: empty: open failed" in said
    assert list(read_results(out / "predictions.json")) == ["a clip #1"]


def test_all_videos_failed(tmp_path, bad_videos, toy_package, capsys):
    assert run(bad_videos["text"], "--model", toy_package, "--out", tmp_path / "out") == 1
    assert "failed: text" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["results"] == {}


def test_one_id_for_two_videos(tmp_path, make_video, clip, toy_package, capsys):
    make_video(tmp_path / "videos" / "two" / "a clip #1.mkv", frames=5)
    words = (tmp_path / "videos", "--model", toy_package, "--out", tmp_path / "out")
    assert run(*words) == 2
    assert "more than one file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(*words, "--id", "path", "--no-report") == 0
    assert set(read_results(tmp_path / "out" / "predictions.json")) == {"a clip #1.mp4", "two/a clip #1.mkv"}


def misuse(capsys, *words):
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("tal: ")
    assert "Traceback" not in said
    return said


def test_misuse_says_what_to_do(tmp_path, clip, toy_package, capsys):
    out = tmp_path / "out"
    assert "does not exist" in misuse(capsys, clip, "--model", tmp_path / "no", "--out", out)
    assert "is a file" in misuse(capsys, clip, "--model", clip, "--out", out)
    assert "neither videos nor features" in misuse(capsys, "--model", toy_package, "--out", out)
    (tmp_path / "none").mkdir()
    misuse(capsys, tmp_path / "none", "--model", toy_package, "--out", out)
    misuse(capsys, tmp_path / "missing.mp4", "--model", toy_package, "--out", out)
    misuse(capsys, clip, "--model", toy_package, "--out", out, "--features", tmp_path / "none")
    assert "--subset with videos" in misuse(capsys, clip, "--model", toy_package, "--out", out, "--subset", "test")
    words = ("--features", tmp_path / "none", "--model", toy_package, "--out", out)
    assert "--subset without --annotations" in misuse(capsys, *words, "--subset", "test")
    said = misuse(capsys, *words, "--queries", "q.jsonl", "--threshold", "0.5", "--whole")
    assert "--threshold, --whole with --queries" in said
    assert "STREAM=FOLDER" in misuse(capsys, "--features", "x=y", "--model", toy_package, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("threshold", ["nan", "inf", "-0.1", "1.5"])
def test_a_threshold_that_is_no_score(tmp_path, clip, toy_package, capsys, threshold):
    said = misuse(capsys, clip, "--model", toy_package, "--out", tmp_path / "out", f"--threshold={threshold}")
    assert f"threshold {float(threshold)}" in said
    assert "[0, 1]" in said
    assert not (tmp_path / "out").exists()


def test_video_scores_have_to_cover_every_video(tmp_path, clip, toy_package, capsys):
    scores, words = tmp_path / "scores.json", (clip, "--model", toy_package, "--out", tmp_path / "out", "--no-report")
    scores.write_text(json.dumps({"another": {"jump": 0.5, "wave": 0.5}}))
    said = misuse(capsys, *words, "--video-scores", scores)
    assert "no video-level scores of 'a clip #1'" in said
    scores.write_text(json.dumps({"a clip #1": {"jump": 0.5}}))
    assert "'wave'" in misuse(capsys, *words, "--video-scores", scores)
    assert not (tmp_path / "out").exists()
    scores.write_text(json.dumps({"a clip #1": {"jump": 0.0, "wave": 1.0}}))
    assert run(*words, "--video-scores", scores) == 0
    assert set(read_results(tmp_path / "out" / "predictions.json")["a clip #1"].names) == {"wave"}


def test_features_in_place_of_videos(tmp_path, clip, toy_package, capsys):
    package = load_model(toy_package)
    backbone = next(iter(Localizer(package)._backbones.values()))
    made = extract_video(clip, backbone, video="v")
    store = FeatureStore.create(tmp_path / "store", package.features["colour"])
    store.write("v", made.features, made.grid, duration_s=made.duration_s, source={"size": 1})
    words = ("--features", tmp_path / "store", "--model", toy_package, "--threshold", "0")
    assert run(*words, "--out", tmp_path / "out") == 0
    assert run(clip, "--model", toy_package, "--threshold", "0", "--out", tmp_path / "direct") == 0
    (one,), (other,) = (read_results(tmp_path / each / "predictions.json").values() for each in ("out", "direct"))
    assert one.start_s.tolist() == other.start_s.tolist()


@pytest.mark.parametrize("words", [(), ("--whole",)])
def test_videos_are_taken_whole_where_that_is_asked_for(tmp_path, clip, toy_package, monkeypatch, words):
    asked = []

    def spied(*args, **more):
        asked.append(more["whole"])
        return detect(*args, **more)

    monkeypatch.setattr("tal.localization.detect", spied)
    assert run(clip, "--model", toy_package, "--no-report", "--out", tmp_path / "out", *words) == 0
    assert asked == [bool(words)]


def test_foreign_features_of_another_width_or_with_nan(tmp_path, toy_package, capsys, monkeypatch):
    folder = tmp_path / "features"
    folder.mkdir()
    np.save(folder / "v.npy", np.zeros((40, 5), np.float32))
    said = misuse(capsys, "--features", folder, "--model", toy_package, "--out", tmp_path / "out")
    assert "no spec.json" in said
    layouts = {"colour": Layout(stride_frames=2, window_frames=4, fps=10)}
    package = load_model(toy_package)
    object.__setattr__(package, "layouts", layouts)
    monkeypatch.setattr("tal.package.load_model", lambda *_: package)
    said = misuse(capsys, "--features", folder, "--model", toy_package, "--out", tmp_path / "out")
    assert "width: 5" in said
    np.save(folder / "v.npy", np.zeros((40, 3), np.float32))
    np.save(folder / "w.npy", np.full((40, 3), np.nan, np.float32))
    from tal.features import open_features

    spec = open_features(folder, layout=layouts["colour"]).spec
    object.__setattr__(package, "features", {"colour": spec})
    assert run("--features", folder, "--model", toy_package, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "failed: w: " in said
    assert "NaN" in said or "nan" in said
    assert list(read_results(tmp_path / "out" / "predictions.json")) == ["v"]


def test_a_full_disk(tmp_path, clip, toy_package, monkeypatch, capsys):
    out = tmp_path / "out"

    def full(*_, **__):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr("pathlib.Path.replace", full)
    assert run(clip, "--model", toy_package, "--out", out) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert files_in(out) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder of 32 KiB; only root can make one."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("taken_kib", [0, 16, 24, 32])
def test_a_disk_that_fills_up_holds_whole_files_only(tmp_path, small_disk, clip, toy_package, capsys, taken_kib):
    words = (clip, "--model", toy_package, "--threshold", "0")
    assert run(*words, "--out", tmp_path / "roomy") == 0
    capsys.readouterr()
    (small_disk / "taken").write_bytes(bytes(1024 * taken_kib))
    assert run(*words, "--out", small_disk / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("tal: the disk is full: ")
    assert "Traceback" not in said
    left = files_in(small_disk / "out")
    assert bool(left) == (taken_kib < 32)
    assert "report.html" not in left
    for name in left:
        assert (small_disk / "out" / name).read_bytes() == (tmp_path / "roomy" / name).read_bytes()


def test_a_folder_that_cannot_be_written(tmp_path, clip, toy_package, capsys):
    (tmp_path / "out").write_text("a file")
    assert "is a file" in misuse(capsys, clip, "--model", toy_package, "--out", tmp_path / "out")


SCRIPT = """
import sys, time
import tal.localization
from tal.segments import Segments

class Slow:
    package, sources = tal.localization.load_model({model!r}), {{}}

    def check_scored(self, videos):
        pass

    def detect_many(self, videos, **facts):
        yield "first", Segments.from_names([1.0], [2.0], ["jump"], classes=("jump", "wave"))
        print("ready", flush=True)
        time.sleep(60)

tal.localization.Localizer = lambda *_, **__: Slow()
from tal.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "files"),
    [
        (signal.SIGINT, ["first.srt", "first.vtt", "predictions.csv", "predictions.json"]),
        (signal.SIGKILL, ["first.srt", "first.vtt"]),
    ],
)
def test_an_interruption_keeps_what_is_finished(tmp_path, clip, toy_package, number, files):
    words = ["localize", str(clip), "--model", str(toy_package), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", SCRIPT.format(model=str(toy_package)), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"
    time.sleep(0.1)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert files_in(tmp_path / "out") == files
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted" in said
        assert "Traceback" not in said
