"""What runs on a GPU only. Without one these tests skip and say so; the last one stands in for the GPU's decoder."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.backbones import load_backbone
from tal.features import FeatureStore, decoding
from tal.features.audio import extract_audio_file
from tal.features.clips import ClipBatcher
from tal.features.extractor import create_stores, extract, extract_video, feature_spec
from tal.features.transfer import Transfer
from tal.video import Resize, open_video

ROOT = Path(__file__).parents[3]

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use here")


def stored(backbone, folder, videos, **settings):
    """The store, and what the run told."""
    store = FeatureStore.create(folder, feature_spec(backbone.spec, dtype="float32"))
    return store, extract(videos, backbone, store, **settings)


def nearly(features, expected, largest):
    """Whether the norm of the difference is small beside that of what is expected."""
    assert features.shape == expected.shape
    assert np.linalg.norm(features - expected) <= largest * np.linalg.norm(expected)


@pytest.fixture(scope="module")
def videos(make_video, tmp_path_factory):
    """Three videos of different lengths, large enough for a GPU's decoder."""
    folder = tmp_path_factory.mktemp("videos")
    return {
        f"v{number}": make_video(folder / f"v{number}.mp4", frames=90 + 20 * number, size=(320, 240))
        for number in range(3)
    }


@on_gpu
def test_its_decoder_gives_the_frames_of_the_cpus_and_leaves_them_there(videos):
    path = videos["v0"]
    with open_video(path, resize=Resize(short_side=112), decoder="torchcodec", device="cuda") as theirs:
        there = list(theirs.sampled(12.0, 16))
    with open_video(path, resize=Resize(short_side=112)) as ours:
        here = list(ours.sampled(12.0, 16))
    assert "cuda" in theirs.decoder
    for mine, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine.times_s, other.times_s)
        assert other.pixels.is_cuda
        off = np.abs(other.pixels.cpu().numpy().astype(int) - mine.pixels)
        assert off.mean() < 3


@on_gpu
@pytest.mark.parametrize("decoder", ["pyav", "torchcodec", "auto"])
def test_features_are_those_of_the_cpu(videos, tmp_path, decoder):
    theirs, summary = stored(load_backbone("tiny", device="cuda"), tmp_path / "gpu", videos, decoder=decoder)
    ours, _ = stored(load_backbone("tiny"), tmp_path / "cpu", videos)
    assert sorted(summary.done) == sorted(videos)
    assert summary.device == "cuda"
    for video in videos:
        source = theirs.record(video)["source"]
        assert "tried" not in source, source["tried"]
        assert ("cuda" in source["decoder"]) == (decoder == "torchcodec")
        largest = 1e-3 if "pyav" in source["decoder"] else 0.05  # its pictures differ by some grey levels
        nearly(theirs.load(video).features, ours.load(video).features, largest)


@on_gpu
def test_the_same_bytes_whatever_runs_beside(videos, tmp_path):
    backbone = load_backbone("tiny", device="cuda")
    found = [
        (stored(backbone, tmp_path / f"{decoders}", videos, decoders=decoders)[0].folder / "v1.npy").read_bytes()
        for decoders in (1, 4)
    ]
    assert found[0] == found[1]


@on_gpu
def test_frames_on_their_way_come_whole_and_in_order(make_video, tmp_path, counting):
    """Many chunks are on their way at once, while the network is busy with others."""
    backbone = counting(clip_frames=1).to("cuda")
    transfer, batcher = Transfer(torch.device("cuda")), ClipBatcher(backbone, 8)
    with open_video(make_video(tmp_path / "v.mp4", frames=512)) as reader:
        for number, frames in enumerate(reader.batches(32)):
            chunk = torch.from_numpy(frames.pixels).cuda() if number % 2 else frames.pixels  # some are there already
            batcher.feed(("v", 0), transfer(chunk).here())
    batcher.end(("v", 0))
    batcher.flush()
    rows = np.concatenate([outputs["features"] for _, outputs in batcher.ready()])
    np.testing.assert_array_equal(rows[:, 0], np.arange(512))


@on_gpu
@pytest.mark.parametrize(("precision", "largest"), [("float16", 1e-2), ("bfloat16", 5e-2)])
def test_half_precision_is_near(videos, precision, largest):
    settings = {"weights": "random", "device": "cuda"}
    wide = load_backbone("torchvision:r3d_18", **settings)
    narrow = load_backbone("torchvision:r3d_18", **settings, dtype=precision)
    nearly(extract_video(videos["v0"], narrow).features, extract_video(videos["v0"], wide).features, largest)


@on_gpu
def test_sound_is_near_the_cpu_s(tmp_path, make_sound):
    path = make_sound(tmp_path / "v.wav", [(0, make_sound.tone(5))])
    gpu, cpu = (load_backbone("vggish", weights="random", device=device) for device in ("cuda", "cpu"))
    nearly(extract_audio_file(path, gpu).features, extract_audio_file(path, cpu).features, 1e-3)


@on_gpu
@pytest.mark.full
def test_networks_of_a_cluster_share_a_gpu_and_give_the_local_engine_s_bytes(videos, tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from tal.features.cluster import extract_on_cluster

    backbone = load_backbone("tiny", device="cuda")
    local, theirs = (create_stores(tmp_path / name, backbone.spec) for name in ("local", "ray"))
    extract(videos, backbone, local)
    load = partial(load_backbone, "tiny")
    summary = extract_on_cluster(videos, load, theirs, gpus_per_actor=0.5, network_actors=2, decoders=2)
    assert sorted(summary.done) == sorted(videos)
    for video in videos:
        ours, other = (next(iter(each.values())).folder / f"{video}.npy" for each in (local, theirs))
        assert ours.read_bytes() == other.read_bytes()


@on_gpu
@pytest.mark.full
def test_the_benchmark_measures_its_parts_too():
    words = ["extract", "--backbones", "tiny", "--sizes", "360p", "--gops", "12", "--videos", "2", "--seconds", "4"]
    done = subprocess.run(
        [sys.executable, "tools/bench.py", *words, "--rounds", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    for part in ("frames to the GPU: pyav", "torchcodec", "ViT-B-like:", "ViT-L-like:"):
        assert part in done.stdout


@pytest.mark.parametrize("broken", [False, True])
def test_a_stand_in_for_its_decoder_is_asked_in_this_process_and_followed_by_the_cpu_s(
    make_video, tmp_path, counting, monkeypatch, broken
):
    """`auto` beside a network on a GPU; frames go to the CPU all the same, for there is no GPU."""
    decoders = pytest.importorskip("torchcodec.decoders", reason="the extra torchcodec is not usable")
    real, devices = decoders.VideoDecoder, []

    def stand_in(path, *, device, **settings):
        devices.append(device)
        if device != "cpu" and broken:
            raise RuntimeError("Unsupported device: cuda:0\nand much more")
        return real(path, device="cpu", **settings)

    monkeypatch.setattr(decoders, "VideoDecoder", stand_in)
    monkeypatch.setattr(decoding, "Transfer", lambda _: Transfer(torch.device("cpu")))
    path = make_video(tmp_path / "v.mp4", frames=44, fps=4, size=(1280, 720))
    spec = counting(fps=4.0, stride_s=0.5).spec
    settings = decoding.DecodeSettings(resize=spec.resize, fps=4.0, decoder="auto", device=torch.device("cuda:0"))
    source = decoding.BackgroundDecoder([("v", path)], settings, state=lambda *_: "new", workers=1)
    try:
        *chunks, ended = source
    finally:
        source.close()
    assert devices[0] == "cuda:0"
    assert ended.failure is None
    assert sum(len(chunk.frames.pixels) for chunk in chunks if chunk.attempt == ended.attempt) == 44
    if broken:
        assert ended.source["decoder"].startswith("pyav")
        tried = {"decoder": "torchcodec on cuda:0", "stage": "open"}
        assert ended.source["tried"] == [{**tried, "error": "torchcodec fails: Unsupported device: cuda:0"}]
    else:
        assert ended.source["decoder"].endswith(", cuda:0")
        assert "tried" not in ended.source
