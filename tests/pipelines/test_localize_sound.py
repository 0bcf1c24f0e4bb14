"""`tal localize` on bare videos with a model that hears, on the built-in benchmark."""

import json

import pytest
import torch

import tal
from tal.cli import main
from tal.features import FeatureStore
from tal.methods.mrav_ff import MravFf, MravFfConfig
from tal.package import save_package


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """videos/: one with its sound and one without; tiny/ and logmel/: their features; model/: a package of both."""
    folder = tmp_path_factory.mktemp("playground")
    words = ["--videos", "2", "--split", "training", "--duration-s", "6", "--size", "96x64", "--workers", "1"]
    assert main(["playground", "--out", str(folder), *words]) == 0
    heard, silent = sorted((folder / "videos").rglob("*.mp4"))
    _without_sound(silent)
    for backbone, failed in (("tiny", 0), ("logmel", 1)):
        words = ["--backbone", backbone, "--out", str(folder / backbone), "--stride-s", str(4 / 15), "--device", "cpu"]
        assert main(["extract", str(folder / "videos"), *words]) == failed
    specs = {"rgb": FeatureStore.open(folder / "tiny").spec, "audio": FeatureStore.open(folder / "logmel").spec}
    torch.manual_seed(0)
    config = MravFfConfig(
        streams={name: spec.width for name, spec in specs.items()},
        classes=("clap", "jump", "wave"),
        train_snippets=64,
        width=16,
        branch_layers=2,
        window=5,
        gate_bias=2.0,
    )
    model = MravFf(config)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    card, model_folder = "Random weights.", folder / "model"
    save_package(model_folder, method="mrav_ff", model=model, features=specs, thresholds={}, card=card)
    return folder, heard.stem, silent.stem


def _without_sound(path):
    import av

    quiet = path.with_suffix(".quiet.mp4")
    with av.open(str(path)) as whole, av.open(str(quiet), "w") as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    quiet.replace(path)


def _results(out):
    return json.loads((out / "predictions.json").read_text())["results"]


def _rows(results):
    return [[*each["segment"], each["score"]] for each in results]


def test_bare_videos_with_and_without_sound(folder, tmp_path, capsys):
    folder, heard, silent = folder
    words = ["localize", "--model", str(folder / "model"), "--threshold", "0"]
    assert main([*words, str(folder / "videos"), "--out", str(tmp_path / "bare")]) == 0
    told = capsys.readouterr()
    assert f"{silent}: localized without the stream 'audio': no audio" in told.err
    assert heard not in told.err
    assert (tmp_path / "bare" / "report.html").stat().st_size
    bare = _results(tmp_path / "bare")
    streams = [f"rgb={folder / 'tiny'}", f"audio={folder / 'logmel'}"]
    for name, features in (("both", streams), ("seen", streams[:1])):
        assert main([*words, "--features", *features, "--out", str(tmp_path / name), "--no-report"]) == 0
    both, seen = _results(tmp_path / "both"), _results(tmp_path / "seen")
    for video in (heard, silent):
        assert len(bare[video]) > 5
        assert len(bare[video]) == len(both[video])
        for ours, theirs in zip(_rows(bare[video]), _rows(both[video]), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
    assert both[silent] == seen[silent]
    assert both[heard] != seen[heard]
    (clip,) = (folder / "videos").rglob(f"{heard}.mp4")
    found = tal.localize(clip, folder / "model", threshold=0.0)
    assert len(found) == len(bare[heard])
    assert found.score[0] == pytest.approx(bare[heard][0]["score"], abs=1e-5)
