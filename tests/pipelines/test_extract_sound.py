"""`tal extract` on sound: the command from end to end."""

import json

import numpy as np

from tal.cli import main
from tal.features import FeatureStore


def test_sound_of_videos_and_of_files_alone(tmp_path, make_video, make_sound, capsys):
    make_video(tmp_path / "videos" / "heard.mp4", frames=100, audio=True)
    make_video(tmp_path / "videos" / "silent.mp4", frames=10)
    make_sound(tmp_path / "song.wav", [(0, make_sound.tone(3))])
    out = tmp_path / "store"
    words = ["extract", str(tmp_path / "videos"), str(tmp_path / "*.wav"), "--out", str(out), "--stride-s", "0.5"]
    assert main([*words, "--backbone", "logmel", "--dtype", "float32"]) == 1
    told = capsys.readouterr().out
    assert "2 done, 0 were done before, 1 failed" in told
    assert "failed: silent: audio: no audio" in told
    store = FeatureStore.open(out)
    assert list(store.ids()) == ["heard", "song"]
    assert store.load("heard", duration_s=4.0).grid.stride_s == 0.5
    assert np.isfinite(store.load("song").features).all()
    spec = json.loads((out / "spec.json").read_text())
    assert spec["transform"]["log_mel"]["bands"] == 64
    assert main([*words, "--backbone", "logmel", "--dtype", "float32"]) == 1
    assert "0 done, 2 were done before, 1 failed" in capsys.readouterr().out
    assert main([*words, "--backbone", "logmel", "--dtype", "float32", "--tokens"]) == 2
    assert "logmel is a backbone of sound" in capsys.readouterr().err
