"""The engine of extraction: bad input and bad decoders cost one video, several outputs in one pass, flat memory."""

import os
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.backbones.base import Backbone, Output
from tal.errors import FeatureError, VideoError
from tal.features import FeatureStore, decoding
from tal.features.clips import ClipBatcher
from tal.features.extractor import create_stores, extract, extract_video, feature_spec
from tal.features.summary import Summary
from tal.video import DECODERS, open_video
from tal.video.auto import Attempt, Header, attempts
from tal.video.remote import RemoteReader


def store_for(backbone, tmp_path):
    return FeatureStore.create(tmp_path / "store", feature_spec(backbone.spec, dtype="float32"))


def failures(summary):
    return {failure.video: (failure.stage, failure.error) for failure in summary.failed}


@pytest.fixture
def strange_files(make_video, tmp_path):
    """Name -> what stands where a video should be."""
    folder = tmp_path / "strange"
    whole = make_video(folder / "whole.mp4", frames=20)
    files = {
        name: folder / name for name in ("fifo.mp4", "zeros.mp4", "device.mp4", "huge.avi", "text.mp4", "none.mp4")
    }
    os.mkfifo(files["fifo.mp4"])
    files["zeros.mp4"].write_bytes(b"")
    files["device.mp4"].symlink_to("/dev/zero")
    files["text.mp4"].write_text("a film\n" * 1000)
    data = make_video(folder / "small.avi", frames=2, codec="rawvideo", pix_fmt="bgr24", gop=1, b_frames=0).read_bytes()
    for height in (48, -48):
        data = data.replace(struct.pack("<ii", 64, height), struct.pack("<ii", 16384, 9216))
    files["huge.avi"].write_bytes(data)
    files["endless.mkv"] = make_video(folder / "endless.mkv", frames=20)
    with files["endless.mkv"].open("rb+") as file:
        file.truncate(1 << 40)
    files["a\nb.mp4"] = whole.rename(folder / "a\nb.mp4")
    files["../../up.mp4"] = files["a\nb.mp4"]
    return files


def test_strange_files_are_one_recorded_error_each(strange_files, make_video, tmp_path, counting):
    videos = {"good1": make_video(tmp_path / "1.mp4"), **strange_files, "good2": make_video(tmp_path / "2.mp4")}
    store = store_for(counting(), tmp_path)
    summary = extract(videos, counting(), store, decoders=2, patience=1.0)
    assert sorted(summary.done) == ["../../up.mp4", "a\nb.mp4", "good1", "good2"]
    found = failures(summary)
    assert set(found) | set(summary.done) == set(videos)
    assert found["fifo.mp4"] == ("open", "not a regular file")
    assert found["device.mp4"] == ("open", "not a regular file")
    assert found["zeros.mp4"] == ("open", "the file is empty (0 bytes)")
    assert found["huge.avi"][1].startswith("frames of 16384x9216")
    assert "stood still" in found["endless.mkv"][1]
    assert all("\n" not in reason for _, reason in found.values())
    assert all(path.parent == store.folder for path in tmp_path.rglob("*.npy"))
    again = extract(videos, counting(), store, decoders=2)
    assert (again.done, set(failures(again))) == ([], set(found))


def test_a_file_that_changes_while_it_is_read_fails(make_video, tmp_path, counting):
    path = make_video(tmp_path / "v.mp4", frames=60, fps=10)
    backbone = counting()
    forward = backbone.forward

    def touched(clips):
        with path.open("ab") as file:
            file.write(b"more")
        return forward(clips)

    backbone.forward = touched
    summary = extract({"v": path}, backbone, store_for(backbone, tmp_path), batch_clips=2)
    assert failures(summary)["v"][0] == "decode"
    assert "changed" in failures(summary)["v"][1]


@pytest.mark.parametrize(("name", "reason"), [("crasher", "crashed (signal 11)"), ("sleeper", "stood still for")])
def test_a_bad_decoder_costs_its_video_only(make_video, tmp_path, counting, bad_decoders, name, reason):
    videos = {each: make_video(tmp_path / f"{each}.mp4", frames=90) for each in ("good1", "bad", "good2")}
    backbone = counting(fps=25.0, stride_s=0.16)
    summary = extract(videos, backbone, store_for(backbone, tmp_path), decoder=name, patience=1.0)
    assert sorted(summary.done) == ["good1", "good2"]
    stage, error = failures(summary)["bad"]
    assert stage == "decode"
    assert error.startswith(f"{name} {reason}")


def test_the_next_decoder_goes_on_where_one_fails(make_video, tmp_path, counting, bad_decoders, monkeypatch):
    order = [Attempt(decoder=name) for name in ("crasher", "thrower", "pyav")]
    monkeypatch.setattr(decoding, "attempts", lambda *_: order)
    videos = {each: make_video(tmp_path / f"{each}.mp4", frames=90) for each in ("good", "bad")}
    backbone = counting(fps=25.0, stride_s=0.16)
    store = store_for(backbone, tmp_path)
    assert sorted(extract(videos, backbone, store, decoder="auto", batch_clips=2).done) == ["bad", "good"]
    for video, path in videos.items():
        whole = extract_video(path, counting(fps=25.0, stride_s=0.16))
        np.testing.assert_array_equal(store.load(video).features, whole.features)
    source = store.record("bad")["source"]
    assert source["decoder"].startswith("pyav ")
    assert [(each["decoder"], each["stage"]) for each in source["tried"]] == [
        ("crasher", "decode"),
        ("thrower", "decode"),
    ]
    assert "signal 11" in source["tried"][0]["error"]
    assert "tried" not in store.record("good")["source"]
    order[:] = order[:2]
    os.utime(videos["bad"])
    videos["bad"].write_bytes(make_video(tmp_path / "other.mp4", frames=95).read_bytes())
    summary = extract({"bad": videos["bad"]}, backbone, store, decoder="auto")
    assert failures(summary)["bad"] == ("decode", "thrower fails: ZeroDivisionError: no such thing")
    assert store.failure("bad").source["tried"][0]["decoder"] == "crasher"


def test_auto_reads_with_what_there_is(make_video, tmp_path, counting):
    store = store_for(counting(), tmp_path)
    assert extract({"v": make_video(tmp_path / "v.mp4")}, counting(), store, decoder="auto").done == ["v"]
    assert store.record("v")["source"]["decoder"].startswith("pyav ")


def test_the_rules_of_auto():
    large = Header(codec="h264", width=1920, height=1080, duration_s=60.0, average_fps=30.0)
    everything = set(DECODERS)

    def names(device, facts, fps=15.0, decoder="auto", usable=everything):
        return [str(each) for each in attempts(decoder, device, usable, facts, fps)]

    on_cpu = ["pyav", "torchcodec", "decord"]
    assert names("cpu", None) == on_cpu
    assert names("cpu", None, usable={"pyav", "decord"}) == ["pyav", "decord"]
    assert names("cuda:0", large) == ["torchcodec on cuda:0", *on_cpu]
    assert names("cuda:0", large, usable={"pyav"}) == ["pyav"]
    for small in ({"width": 640, "height": 360}, {"duration_s": 5.0}, {"codec": "mpeg4"}):
        assert names("cuda:0", replace(large, **small)) == on_cpu
    assert names("cuda:0", large, fps=1.0) == on_cpu
    assert names("cuda:0", None, decoder="torchcodec") == ["torchcodec on cuda:0", "torchcodec"]
    assert names("cuda:0", None, decoder="pyav") == ["pyav"]


def test_where_no_process_can_be_started_threads_decode(make_video, tmp_path, counting, monkeypatch, caplog):
    def refused(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("tal.video.process.subprocess.Popen", refused)
    videos = {name: make_video(tmp_path / f"{name}.mp4") for name in "abc"}
    with caplog.at_level("WARNING", logger="tal"):
        assert sorted(extract(videos, counting(), store_for(counting(), tmp_path), decoders=2).done) == ["a", "b", "c"]
    assert "decoding in threads" in caplog.text


def test_threads_if_asked_for(make_video, tmp_path, counting, monkeypatch):
    monkeypatch.setattr("tal.video.process.subprocess.Popen", None)
    videos = {name: make_video(tmp_path / f"{name}.mp4") for name in "abc"}
    store = store_for(counting(), tmp_path)
    assert len(extract(videos, counting(), store, decoders=2, isolate=False).done) == 3


class Layered(Backbone):
    """Three outputs: mean colour, tokens of four corners, and the first."""

    def __init__(self, spec):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)
        layers = (
            Output(name="mean", width=3),
            Output(name="corners", width=3, tokens=4),
            Output(name="deep/1", width=6),
        )
        self.spec = replace(spec, name="layered", width=3, layers=layers, dtype="bfloat16")

    def forward(self, clips):
        mean = clips.mean((1, 3, 4))
        corners = clips.mean(1)[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].transpose(1, 2)
        return {"mean": mean, "corners": corners, "deep/1": torch.cat([mean, -mean], 1)}


def test_several_outputs_are_written_in_one_pass(make_video, tmp_path, counting):
    videos = {name: make_video(tmp_path / f"{name}.mp4", frames=40 + ord(name)) for name in "abc"}
    backbone = Layered(counting().spec)
    stores = create_stores(tmp_path / "out", backbone.spec, dtype="float32")
    assert len({store.folder for store in stores.values()}) == 3
    assert all(store.folder.parent == tmp_path / "out" for store in stores.values())
    assert stores["corners"].spec.transform["tokens"] == 4
    assert stores["mean"].spec.transform["precision"] == "bfloat16"
    assert sorted(extract(videos, backbone, stores, batch_clips=4).done) == ["a", "b", "c"]
    for video in videos:
        mean, corners, deep = (stores[name].load(video) for name in ("mean", "corners", "deep/1"))
        assert corners.features.shape == (len(mean.features), 4, 3)
        np.testing.assert_array_equal(deep.features, np.concatenate([mean.features, -mean.features], 1))
        assert mean.grid == corners.grid
    (stores["corners"].folder / "b.json").unlink()
    again = extract(videos, backbone, stores)
    assert (again.done, sorted(again.skipped)) == (["b"], ["a", "c"])
    with pytest.raises(FeatureError, match="one store per output"):
        extract(videos, backbone, {"mean": stores["mean"]})


def test_every_batch_has_one_size(make_video, tmp_path, counting):
    backbone = counting()
    videos = {f"v{number}": make_video(tmp_path / f"v{number}.mp4", frames=20 + 9 * number) for number in range(4)}
    extract(videos, backbone, store_for(backbone, tmp_path), batch_clips=4)
    extract_video(videos["v0"], backbone, batch_clips=4)
    assert set(backbone.batch_sizes) == {4}


def test_bytes_do_not_depend_on_what_runs_beside(make_video, tmp_path):
    from tal.backbones import load_backbone

    backbone = load_backbone("tiny", weights="random")
    videos = {f"v{number}": make_video(tmp_path / f"v{number}.mp4", frames=70 + 9 * number) for number in range(3)}
    found = []
    for decoders, names in ((1, list(videos)), (3, list(reversed(videos))), (1, ["v1"])):
        store = FeatureStore.create(tmp_path / f"store{len(found)}", feature_spec(backbone.spec))
        extract({name: videos[name] for name in names}, backbone, store, decoders=decoders)
        found.append((store.folder / "v1.npy").read_bytes())
    assert found[0] == found[1] == found[2]


def test_bytes_of_a_damaged_video_do_not_depend_on_how_it_is_decoded(make_video, tmp_path):
    """FFmpeg shows other pictures in place of the damage with other numbers of threads."""
    from tal.backbones import load_backbone

    backbone = load_backbone("tiny", weights="random")
    options = {"preset": "veryfast", "crf": "20"}
    whole = make_video(tmp_path / "whole.mp4", frames=100, gop=50, size=(160, 120), options=options)
    paths = {"whole": whole}
    for number in range(3):
        data = bytearray(whole.read_bytes())
        place = len(data) // 3 + 4001 * number
        data[place : place + 50] = bytes(range(50))
        paths[f"v{number}"] = tmp_path / f"v{number}.mp4"
        paths[f"v{number}"].write_bytes(data)
    found = []
    for number, settings in enumerate(({"decoders": 1}, {"decoders": 4}, {"decoders": 1, "isolate": False})):
        store = store_for(backbone, tmp_path / str(number))
        assert len(extract(paths, backbone, store, **settings).done) == 4
        found.append({video: (store.folder / f"{video}.npy").read_bytes() for video in paths})
        found[-1] |= {f"{video}, record": (store.folder / f"{video}.json").read_bytes() for video in paths}
    assert found[0] == found[1] == found[2]
    assert len({found[0][video] for video in paths}) == 4  # every damage shows


def test_every_decoder_has_one_thread(make_video, tmp_path, counting, monkeypatch):
    """Whatever the number of decoders, and with processes or without."""
    asked = []

    class Watched(RemoteReader):
        def __init__(self, path, *, threads, **settings):
            asked.append(threads)
            super().__init__(path, threads=threads, **settings)

    def opened(path, *, threads, **settings):
        asked.append(threads)
        return open_video(path, threads=threads, **settings)

    monkeypatch.setattr(decoding, "RemoteReader", Watched)
    monkeypatch.setattr(decoding, "open_video", opened)
    videos = {name: make_video(tmp_path / f"{name}.mp4", frames=20) for name in "ab"}
    for number, settings in enumerate(({"decoders": 1}, {"decoders": 2}, {"isolate": False})):
        extract(videos, counting(), store_for(counting(), tmp_path / str(number)), **settings)
    assert asked == [1] * 6


def test_a_stream_of_features_is_guarded_if_asked(make_video, tmp_path, counting, bad_decoders, monkeypatch, caplog):
    path, good = (make_video(tmp_path / f"{each}.mp4", frames=90) for each in ("bad", "good"))
    backbone = counting(fps=25.0, stride_s=0.16)
    whole = extract_video(good, backbone).features
    np.testing.assert_array_equal(extract_video(good, backbone, isolate=True).features, whole)
    monkeypatch.setitem(DECODERS._entries, "pyav", DECODERS["crasher"])
    with pytest.raises(VideoError, match=r"crashed \(signal 11\)"):
        extract_video(path, backbone, isolate=True)

    def refused(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("tal.video.process.subprocess.Popen", refused)
    with caplog.at_level("WARNING", logger="tal"):
        np.testing.assert_array_equal(extract_video(good, backbone, isolate=True).features, whole)
    assert "no process can be started" in caplog.text


def test_decoding_waits_for_a_slow_network(make_video, tmp_path, counting):
    path = make_video(tmp_path / "v.mp4", frames=900, fps=25)
    spec = counting(fps=25.0, stride_s=0.16).spec
    settings = decoding.DecodeSettings(resize=spec.resize, fps=25.0)
    source = decoding.BackgroundDecoder([("v", path)], settings, state=lambda *_: "new", workers=1)
    try:
        first = next(iter(source))
        deadline = time.monotonic() + 120
        while not source._queue.full() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        assert source._queue.qsize() == 4 < 900 // len(first.frames.pixels)
    finally:
        source.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_the_next_batch_starts_before_the_last_is_collected(counting):
    backbone = counting(clip_frames=1)
    batcher = ClipBatcher(backbone, 2)
    batcher.feed(("v", 0), np.zeros((4, 48, 64, 3), np.uint8))
    assert backbone.batch_sizes == [2, 2]
    assert [len(rows["features"]) for _, rows in batcher.ready()] == [2]
    assert batcher.end(("v", 0)) == 4
    batcher.flush()
    assert [len(rows["features"]) for _, rows in batcher.ready()] == [2]
    assert batcher.clips == 4


def test_a_summary_tells_rates_and_advice():
    waiting = Summary(video_s=100.0, wall_s=10.0, waited_s=9.0, decode_s=20.0, network_s=1.0, decoders=2)
    assert waiting.rates() == (
        "decoding binds (decoding 10.0 x, the network 100.0 x); to go faster: --decoders 4, if there are cores for them"
    )
    busy = replace(waiting, waited_s=0.0, device="cuda")
    assert "the network binds" in busy.rates()
    assert "--batch-clips" in busy.advice
    assert Summary().rates().startswith("the network binds; ")


MEMORY = """
import resource, sys
from pathlib import Path
import torch
from tal.features import FeatureStore
from tal.features.extractor import extract, feature_spec
from toy_backbone import ToyBackbone

torch.set_num_threads(1)
backbone = ToyBackbone(stride_s=0.1, whole=True).eval()
path = Path(sys.argv[1])
store = FeatureStore.create(path.with_suffix(".store"), feature_spec(backbone.spec))
assert extract({"v": path}, backbone, store).done == ["v"]
kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
print(store.record("v")["array"]["shape"][0], *(resource.getrusage(kind).ru_maxrss for kind in kinds))
"""


def _measured(path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "helpers")}
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


@pytest.mark.full
def test_ten_hours_take_no_more_memory_than_ten_minutes(tmp_path, make_video):
    short = make_video(tmp_path / "short.mp4", frames=1200, fps=2, size=(32, 24))
    long = make_video(tmp_path / "long.mp4", frames=72_000, fps=2, size=(32, 24))
    few, network, decoder = _measured(short)
    many, network_long, decoder_long = _measured(long)
    assert (few, many) == (5997, 359_997)  # 553 MB of features
    assert network_long <= 1.1 * network
    assert decoder_long <= 1.1 * decoder
