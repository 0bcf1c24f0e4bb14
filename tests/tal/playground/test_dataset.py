"""Datasets on disk: complete, resumable, never half-written, never over something else."""

import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from tal.annotations import activitynet, read_annotations
from tal.errors import ConfigError, TalError, VideoError
from tal.playground import generate
from tal.playground.actions import CLASSES
from tal.playground.dataset import _counts
from tal.playground.settings import SPLITS

_CPU_TIMES = ("user", "system", "children_user", "children_system")
SMALL = {"duration_s": 6.0, "width": 64, "height": 48, "fps": 10.0, "workers": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five small easy videos."""
    return generate(tmp_path_factory.mktemp("playground"), seed=3, videos=5, **SMALL)


def _stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_folder_holds_videos_annotations_and_what_it_is(dataset):
    folder = dataset.parent
    assert dataset.name == "annotations.json"
    database = json.loads(dataset.read_text())["database"]
    assert sorted(path.stem for path in (folder / "videos").iterdir()) == sorted(database)
    assert [sum(entry["subset"] == name for entry in database.values()) for name in SPLITS] == [3, 1, 1]
    assert all((folder / entry["path"]).is_file() for entry in database.values())
    note = json.loads((folder / "dataset.json").read_text())
    assert (note["synthetic"], note["seed"], note["classes"]) == (True, 3, list(CLASSES))
    assert "Synthetic" in (folder / "README.md").read_text()
    assert not list(folder.rglob(".*"))


def test_the_videos_play_with_sound(dataset):
    for path in (dataset.parent / "videos").iterdir():
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            times = [frame.time for frame in container.decode(video=0)]
        assert times == pytest.approx([idx / 10 for idx in range(60)], abs=1e-6)
        with av.open(str(path)) as container:
            samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
        assert 6.0 <= samples.shape[1] / 16_000 < 6.2
        assert samples.std() > 1e-4


def test_annotations_are_read_with_all_their_parts(dataset):
    records = read_annotations(dataset)
    database = json.loads(dataset.read_text())["database"]
    assert list(records.videos) == list(database)
    assert records.classes == CLASSES
    for name, record in records.videos.items():
        entry = database[name]
        rows = entry["annotations"]
        assert (record.duration_s, record.fps, record.subset) == (6.0, 10.0, entry["subset"])
        assert record.path == entry["path"]
        assert record.instances.names == [row["label"] for row in rows]
        assert np.c_[record.instances.start_s, record.instances.end_s].tolist() == [row["segment"] for row in rows]
        assert {moment.text for moment in record.moments} == {moment["text"] for moment in entry["moments"]}
        assert record.steps == tuple(entry["steps"])
        assert record.quality == entry["quality"]
        assert [len(tube) for tube in record.tubes] == [len(tube["times"]) for tube in entry["tubes"]]
        assert len(record.tubes[0]) == 60
        for position, row in enumerate(rows):
            cycles = tuple(tuple(cycle) for cycle in row.get("cycles", []))
            assert record.cycles_s.get(position, ()) == cycles


def test_a_second_run_redoes_nothing(dataset):
    before = _stamps(dataset.parent)
    assert generate(dataset.parent, seed=3, videos=5, **SMALL) == dataset
    assert _stamps(dataset.parent) == before


def test_what_is_missing_is_rendered_again_and_the_same(tmp_path, dataset):
    generate(tmp_path, seed=3, videos=2, split="training", **SMALL)
    (tmp_path / "videos" / "training_0001.mp4").unlink()
    before = _stamps(tmp_path)
    generate(tmp_path, seed=3, videos=2, split="training", **SMALL)
    after = _stamps(tmp_path)
    assert set(after) - set(before) == {"training_0001.mp4"}
    assert {name: after[name] for name in before} == before
    one, all_of_them = (json.loads((path / "annotations.json").read_text()) for path in (tmp_path, dataset.parent))
    assert one["database"].items() <= all_of_them["database"].items()
    for name in ("training_0000.mp4", "training_0001.mp4"):
        assert (tmp_path / "videos" / name).read_bytes() == (dataset.parent / "videos" / name).read_bytes()


def test_more_videos_and_splits_can_be_added(tmp_path):
    generate(tmp_path, videos=1, split="testing", **SMALL)
    first = json.loads((tmp_path / "annotations.json").read_text())["database"]
    generate(tmp_path, videos=2, split="validation", **SMALL)
    generate(tmp_path, videos=1, split="validation", **SMALL)
    both = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert list(both) == ["validation_0000", "validation_0001", "testing_0000"]
    assert both["testing_0000"] == first["testing_0000"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"seed": 4}, "seed 3"), ({"difficulty": "hard"}, "difficulty easy"), ({"fps": 12.0}, "fps 10")],
)
def test_another_dataset_into_the_same_folder_is_refused(dataset, change, shown):
    before = _stamps(dataset.parent)
    with pytest.raises(TalError, match=shown):
        generate(dataset.parent, **{"seed": 3, "videos": 5} | SMALL | change)
    assert _stamps(dataset.parent) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [("precious.txt", "mine"), ("dataset.json", "{}"), ("dataset.json", "not json"), ("dataset.json", '["a"]')],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(TalError):
        generate(tmp_path, videos=1, split="testing", **SMALL)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: text}


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(TalError, match="not a playground"):
        generate(tmp_path / "out", videos=1, split="testing", **SMALL)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    "change", [{"videos": 0}, {"videos": 2}, {"videos": -1}, {"split": "test"}, {"workers": 0}, {"width": 63}]
)
def test_impossible_requests_are_refused_before_anything_is_written(tmp_path, change):
    with pytest.raises(ConfigError):
        generate(tmp_path / "out", **{"videos": 5} | SMALL | change)
    assert not (tmp_path / "out").exists()


def test_counts_always_add_up():
    for videos in (3, 4, 40, 101):
        counts = _counts("all", videos)
        assert sum(counts.values()) == videos
        assert min(counts.values()) >= 1
    assert _counts("all", 40) == {"training": 24, "validation": 8, "testing": 8}


def test_processes_render_the_same_bytes_and_load_no_torch(tmp_path, dataset):
    """A torch that cannot be imported stands in the processes' way: they never ask for it."""
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "torch.py").write_text("raise SystemExit('torch was imported')")
    script = f"""
from tal.playground import generate
generate({str(tmp_path / "out")!r}, seed=3, videos=5, **{SMALL | {"workers": 2}})
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "trap"), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out" / "videos").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (dataset.parent / "videos").iterdir()}
    assert (tmp_path / "out" / "annotations.json").read_bytes() == dataset.read_bytes()


def test_a_failure_in_a_process_is_told(tmp_path):
    generate(tmp_path, videos=1, split="testing", **SMALL)
    (tmp_path / "videos" / "testing_0000.mp4").unlink()
    (tmp_path / "videos").rmdir()
    (tmp_path / "videos").symlink_to("/proc")  # a folder in which nothing can be written
    with pytest.raises(VideoError, match="encode failed"):
        generate(tmp_path, videos=4, split="testing", **SMALL | {"workers": 2})


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_completes(tmp_path, workers):
    words = ["playground", "--out", str(tmp_path), "--videos", "5", "--split", "training", "--workers", str(workers)]
    words += ["--duration-s", "12", "--size", "64x48"]
    running = subprocess.Popen(
        [sys.executable, "-m", "tal", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "videos").glob("*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    told = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "finished work is kept" in told
    assert "Traceback" not in told
    done = _stamps(tmp_path / "videos")
    assert 1 <= len(done) < 5
    assert all(name.endswith(".mp4") and not name.startswith(".") for name in done)
    assert not (tmp_path / "annotations.json").exists()
    subprocess.run([sys.executable, "-m", "tal", *words], check=True, capture_output=True)
    after = _stamps(tmp_path / "videos")
    assert len(after) == 5
    assert {name: after[name] for name in done} == done


def test_what_a_killed_run_left_is_swept_away(tmp_path):
    generate(tmp_path, videos=1, split="testing", **SMALL)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours = tmp_path / "videos" / f".testing_0001.mp4.{os.getpid()}.part"  # of a run beside this one
    for part in (ours, tmp_path / "videos" / f".testing_0001.mp4.{gone.pid}.part"):
        part.write_bytes(b"half")
    generate(tmp_path, videos=1, split="testing", **SMALL)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == [ours.name, "testing_0000.mp4"]


@pytest.mark.full
def test_forty_easy_videos_are_ready_in_a_minute_of_two_cores(tmp_path):
    before = os.times()
    generate(tmp_path, videos=40, workers=2)
    after = os.times()
    spent = sum(getattr(after, name) - getattr(before, name) for name in _CPU_TIMES)
    assert spent < 2 * 60  # 40 s of one core, measured where the clock is not shared
    assert len(list((tmp_path / "videos").iterdir())) == 40


def test_annotations_survive_being_written_again(tmp_path, dataset):
    activitynet.write(tmp_path / "again.json", read_annotations(dataset))
    first, again = read_annotations(dataset), read_annotations(tmp_path / "again.json")
    assert again.classes == first.classes == CLASSES
    for name, record in first.videos.items():
        other = again.videos[name]
        assert (record.moments, record.cycles_s, record.steps) == (other.moments, other.cycles_s, other.steps)
        assert (record.quality, record.path, record.fps) == (other.quality, other.path, other.fps)
        assert record.instances.label.tolist() == other.instances.label.tolist()
        assert [tube.boxes.tolist() for tube in record.tubes] == [tube.boxes.tolist() for tube in other.tubes]
