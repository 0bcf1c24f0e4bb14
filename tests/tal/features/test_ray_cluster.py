"""A cluster of several nodes in this machine: nodes and workers are killed, and every video ends done exactly once."""

import filecmp
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from tal.backbones import load_backbone
from tal.errors import TalError
from tal.features.cluster.connection import _QUIET
from tal.features.extractor import create_stores, extract
from tal.features.store import FeatureStore

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

BATCH_CLIPS = 4
WHITE = 1.0  # of normalised frames, whose deviation is 0.25: the mean of a white video is 2


def load(*, device, slow_s=0.0, deadly=False):
    """tiny, held up at every batch; with `deadly`, white frames end its process."""
    backbone = load_backbone("tiny", device=device)

    def look(_, arguments):
        time.sleep(slow_s)
        if deadly and arguments[0].mean((1, 2, 3, 4)).max() > WHITE:
            os.kill(os.getpid(), signal.SIGKILL)

    backbone.register_forward_pre_hook(look)
    return backbone


def crash(*, device):
    """A backbone that ends its process when it is built."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster():
    """A head without workers, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    for name, value in _QUIET.items():
        patch.setenv(name, value)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    small = {"object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    cluster.nodes = [cluster.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
    ray.init(cluster.address, logging_level="ERROR")
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video):
    """id -> path: videos of several lengths, one of them broken."""
    folder = tmp_path_factory.mktemp("videos")
    paths = {f"v{number}": make_video(folder / f"v{number}.mp4", frames=50 + 9 * number) for number in range(12)}
    paths["broken"] = folder / "broken.mp4"
    paths["broken"].write_bytes(b"no video")
    return paths


def stores_in(folder):
    return create_stores(folder, load_backbone("tiny").spec)


def whole_files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def assert_same_bytes(ours, theirs):
    assert whole_files(ours) == whole_files(theirs)
    _, different, unreadable = filecmp.cmpfiles(ours, theirs, whole_files(ours), shallow=False)
    assert (different, unreadable) == ([], [])


def kill_when_begun(cluster, folder, killed):
    """Kill the node of a network actor as soon as a few videos are finished."""
    deadline_s = time.monotonic() + 120
    while len([name for name in whole_files(folder) if name.startswith("v")]) < 4 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    killed.append(len(whole_files(folder)))
    cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)


def local_run(videos, folder):
    """What the local engine gives with one thread, as a network on a node of one core has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    summary = extract(videos, load_backbone("tiny"), stores_in(folder), batch_clips=BATCH_CLIPS)
    torch.set_num_threads(threads)
    return summary


def begin_ray():
    """One node of one core. Ray gives it thirty seconds to start, whatever else this machine does."""
    try:
        ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", object_store_memory=100_000_000)
    except Exception as error:
        ray.shutdown()
        if "timed out during startup" not in str(error):
            raise
        pytest.skip("Ray's node did not start within the thirty seconds that Ray allows: too much runs beside")


def test_the_bytes_are_the_local_engines(videos, tmp_path, monkeypatch):
    """On one core of this machine; what happens when nodes are lost is for the full tests."""
    from tal.features.cluster import extract_on_cluster

    for name, value in _QUIET.items():
        monkeypatch.setenv(name, value)
    some = {name: videos[name] for name in ("v0", "v3", "broken")}
    local = local_run(some, tmp_path / "local")
    begun = not ray.is_initialized()
    if begun:
        begin_ray()
    try:
        stores, settings = stores_in(tmp_path / "ray"), {"network_actors": 1, "decoders": 1}
        tiny = partial(load_backbone, "tiny")
        summary = extract_on_cluster(some, tiny, stores, batch_clips=BATCH_CLIPS, **settings)
    finally:
        if begun:
            ray.shutdown()
    assert sorted(summary.done) == sorted(local.done) == ["v0", "v3"]
    assert [failure.video for failure in summary.failed] == ["broken"]
    assert_same_bytes(tmp_path / "local", tmp_path / "ray")


@pytest.mark.full
def test_a_node_is_killed_and_the_bytes_are_the_local_engines(cluster, videos, tmp_path, caplog):
    from tal.features.cluster import extract_on_cluster

    local = local_run(videos, tmp_path / "local")
    assert (len(local.done), len(local.failed)) == (12, 1)

    killed = []
    killer = threading.Thread(target=kill_when_begun, args=(cluster, tmp_path / "ray", killed))
    stores = stores_in(tmp_path / "ray")
    killer.start()
    slow = partial(load, slow_s=0.3)
    summary = extract_on_cluster(videos, slow, stores, batch_clips=BATCH_CLIPS, network_actors=2, decoders=2)
    killer.join()
    assert killed[0] < len(whole_files(tmp_path / "local"))  # it was in the middle
    assert sorted(summary.done) == sorted(local.done)
    assert [failure.video for failure in summary.failed] == ["broken"]
    assert summary.skipped == []
    assert summary.video_s > 0.8 * local.video_s  # what a lost worker had finished is not counted
    assert_same_bytes(tmp_path / "local", tmp_path / "ray")
    assert any("lost with its node" in record.message for record in caplog.records)


@pytest.mark.full
def test_a_video_that_ends_its_worker_twice_fails_and_takes_no_other_with_it(cluster, videos, tmp_path, make_video):
    from tal.features.cluster import extract_on_cluster

    white = tmp_path / "white.mp4"
    write_white(white)
    some = {"v0": videos["v0"], "white": white, "v1": videos["v1"], "v2": videos["v2"]}
    stores = stores_in(tmp_path / "store")
    summary = extract_on_cluster(some, partial(load, deadly=True), stores, network_actors=1, decoders=1)
    assert sorted(summary.done) == ["v0", "v1", "v2"]
    assert [(failure.video, failure.stage) for failure in summary.failed] == [("white", "worker")]
    store = FeatureStore.open(tmp_path / "store")
    assert store.state("white", white) == "failed"
    mended = extract_on_cluster(some, load, stores, network_actors=1, decoders=1, retry_failed=True)
    assert (mended.done, sorted(mended.skipped)) == (["white"], ["v0", "v1", "v2"])


@pytest.mark.full
def test_a_decoder_is_killed_and_its_videos_are_done_again(cluster, videos, tmp_path):
    from tal.features.cluster import extract_on_cluster

    stores = stores_in(tmp_path / "store")
    killed = []
    killer = threading.Thread(target=kill_decoder, args=(tmp_path / "store", killed))
    killer.start()
    summary = extract_on_cluster(videos, partial(load, slow_s=0.1), stores, network_actors=1, decoders=1)
    killer.join()
    assert len(killed) == 1
    assert sorted(summary.done) == sorted(set(videos) - {"broken"})
    assert [failure.video for failure in summary.failed] == ["broken"]


@pytest.mark.full
def test_a_store_that_cannot_be_written_ends_the_run(cluster, videos, tmp_path):
    from tal.features.cluster import extract_on_cluster

    stores = stores_in(tmp_path / "store")
    (tmp_path / "store" / "spec.json").unlink()
    with pytest.raises(TalError):
        extract_on_cluster(videos, load, stores, network_actors=1, decoders=1)


@pytest.mark.full
def test_a_backbone_that_ends_its_worker_at_once_ends_the_run(cluster, videos, tmp_path):
    from tal.features.cluster import extract_on_cluster

    with pytest.raises(TalError, match="before it could work"):
        extract_on_cluster(videos, crash, stores_in(tmp_path / "store"), network_actors=1, decoders=1)


def kill_decoder(folder, killed):
    """Kill the process of a decoding actor as soon as a video is finished."""
    deadline_s = time.monotonic() + 120
    while not killed and time.monotonic() < deadline_s:
        if whole_files(folder) != ["spec.json"]:
            for path in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if (path / "cmdline").read_bytes().startswith(b"ray::Decoder"):
                        os.kill(int(path.name), signal.SIGKILL)
                        killed.append(int(path.name))
                        return
        time.sleep(0.05)


def write_white(path):
    import numpy as np

    from tal.video.encode import VideoWriter

    with VideoWriter(path, width=64, height=48, fps=25) as writer:
        for _ in range(60):
            writer.write(np.full((48, 64, 3), 255, np.uint8))
