"""Feature folders that others made: read with the time that was described, or refused with the reason."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.errors import ConfigError, FeatureError, GridError
from tal.features import Layout, open_features

I3D = Layout(stride_frames=4, window_frames=16, fps=25.0)


def array(count=100, width=6):
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


def save(path, values, key="features"):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, **{key: values})
    else:
        torch.save({key: torch.from_numpy(values)}, path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".pth"])
@pytest.mark.parametrize("axes", ["TC", "CT"])
def test_every_kind_and_both_axes(tmp_path, suffix, axes):
    values = array()
    save(tmp_path / f"v{suffix}", values if axes == "TC" else np.ascontiguousarray(values.T))
    source = open_features(tmp_path, layout=Layout(stride_frames=4, window_frames=16, fps=25.0, axes=axes))
    assert source.ids() == ["v"]
    assert source.spec.width == 6
    back = source.load("v", duration_s=16.5)
    np.testing.assert_array_equal(back.features, values)
    assert back.grid.starts_s[1] == pytest.approx(0.16)
    assert back.grid.centers_s[0] == pytest.approx(0.32)
    assert back.duration_s == 16.5


def test_a_key_chooses_among_arrays(tmp_path):
    np.savez(tmp_path / "v.npz", rgb=array(), flow=array() + 1)
    with pytest.raises(FeatureError, match=r"\['flow', 'rgb'\]"):
        open_features(tmp_path, layout=I3D)
    source = open_features(tmp_path, layout=Layout(stride_frames=4, window_frames=16, fps=25.0, key="flow"))
    np.testing.assert_array_equal(source.load("v").features, array() + 1)


def test_a_bare_tensor_and_half_precision(tmp_path):
    torch.save(torch.from_numpy(array()).bfloat16(), tmp_path / "v.pt")
    back = open_features(tmp_path, layout=I3D).load("v").features
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, array(), rtol=1e-2)


def test_the_rate_of_each_video_from_its_annotations(tmp_path):
    np.save(tmp_path / "v.npy", array())
    source = open_features(tmp_path, layout=Layout(stride_frames=5, window_frames=5))
    assert source.spec.fps is None
    assert source.load("v", fps=10.0).grid.stride_s == 0.5
    assert source.load("v", fps=20.0).grid.stride_s == 0.25
    with pytest.raises(GridError, match="neither the layout nor the annotations state a rate"):
        source.load("v")


def test_resampled_rows_share_the_duration(tmp_path):
    np.save(tmp_path / "v.npy", array())
    source = open_features(tmp_path, layout=Layout(resampled_to=100))
    grid = source.load("v", duration_s=50.0).grid
    assert (grid.stride_s, grid.window_s, grid.end_s) == (0.5, 0.5, 50.0)
    with pytest.raises(GridError, match="duration is not known"):
        source.load("v")
    np.save(tmp_path / "v.npy", array(90))
    with pytest.raises(GridError, match="90 rows"):
        source.load("v", duration_s=50.0)


def test_a_prefix_is_not_part_of_the_id(tmp_path):
    np.save(tmp_path / "v_abc.npy", array())
    np.save(tmp_path / "other.npy", array())
    source = open_features(tmp_path, layout=Layout(stride_frames=4, window_frames=16, fps=25.0, prefix="v_"))
    assert source.ids() == ["abc"]


def test_a_grid_that_does_not_fit_names_both_numbers_and_the_cause(tmp_path):
    np.save(tmp_path / "v.npy", array(500))
    with pytest.raises(GridError) as caught:
        open_features(tmp_path, layout=I3D).load("v", duration_s=80.48 * 25 / 30)
    assert "80.48 s, the video at 67.07 s" in str(caught.value)
    assert "or a like ratio" in str(caught.value)


@pytest.mark.parametrize("axes", ["TC", "CT"])
def test_some_columns_of_the_files(tmp_path, axes):
    values = array()  # (100, 6)
    np.save(tmp_path / "v.npy", values if axes == "TC" else values.T)
    layout = Layout(stride_frames=4, window_frames=16, fps=25.0, columns=(2, 5), axes=axes)
    source = open_features(tmp_path, layout=layout)
    assert source.spec.width == 3
    np.testing.assert_array_equal(source.load("v").features, values[:, 2:5])
    assert Layout.from_dict(json.loads(json.dumps(layout.as_dict()))) == layout
    with pytest.raises(FeatureError, match="6 channels"):
        open_features(tmp_path, layout=replace(layout, columns=(2, 7)))
    with pytest.raises(ConfigError, match="columns"):
        replace(layout, columns=(3, 3))


def test_nan_is_refused_or_zero(tmp_path):
    values = array()
    values[3, 2] = np.nan
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(FeatureError, match="1 of 600 values are NaN or infinite, first in row 3"):
        open_features(tmp_path, layout=I3D).load("v")
    source = open_features(tmp_path, layout=Layout(stride_frames=4, window_frames=16, fps=25.0, nan="zero"))
    assert source.load("v").features[3, 2] == 0
    values[4, 1] = np.inf
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(FeatureError, match="row 4"):
        source.load("v")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((5, 7), np.float32), "width 7"),
        (np.ones((6, 5), np.float32), r"the axes are \(C, T\)"),
        (np.ones((5, 6), np.int64), "type int64"),
        (np.ones((5, 6), np.complex64), "type complex64"),
        (np.ones((0, 6), np.float32), r"shape \(0, 6\)"),
        (np.ones(6, np.float32), r"shape \(6,\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, values, message):
    np.save(tmp_path / "a.npy", array())
    np.save(tmp_path / "b.npy", values)
    with pytest.raises(FeatureError, match=message):
        open_features(tmp_path, layout=I3D).load("b")


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a feature file was unpickled",))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_pickles_are_refused_unopened(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    bomb = np.empty(1, object)
    bomb[0] = _Bomb()
    if suffix == ".npy":
        np.save(path, bomb, allow_pickle=True)
    elif suffix == ".npz":
        np.savez(path, features=bomb)
    else:
        torch.save(_Bomb(), path)
    with pytest.raises(FeatureError, match="could run foreign code"):
        open_features(tmp_path, layout=I3D)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("content", [b"", b"not an array", pickle.dumps([1, 2])])
def test_files_that_are_no_arrays(tmp_path, suffix, content):
    (tmp_path / f"v{suffix}").write_bytes(content)
    with pytest.raises(FeatureError, match=f"v{suffix}"):
        open_features(tmp_path, layout=I3D)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_a_damaged_file_is_its_own_videos_fault(tmp_path, suffix):
    for video, values in (("a", array()[:, :2]), ("c", array()), ("d", array())):
        save(tmp_path / f"{video}{suffix}", values)
    (tmp_path / f"b{suffix}").write_bytes(b"")
    source = open_features(tmp_path, layout=I3D)
    assert source.spec.width == array().shape[1]
    assert source.load("d").features.shape == array().shape
    with pytest.raises(FeatureError, match=f"b{suffix}"):
        source.load("b")
    with pytest.raises(FeatureError, match="width 2"):
        source.load("a")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_a_truncated_file(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    save(path, array())
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FeatureError, match=f"v{suffix}"):
        open_features(tmp_path, layout=I3D)


def test_folders_without_features(tmp_path):
    with pytest.raises(FeatureError, match="does not exist"):
        open_features(tmp_path / "nowhere", layout=I3D)
    with pytest.raises(FeatureError, match="no such file"):
        open_features(tmp_path, layout=I3D)
    with pytest.raises(FeatureError, match="no layout was given"):
        open_features(tmp_path)
    save(tmp_path / "a.npy", array())
    save(tmp_path / "b.npz", array())
    with pytest.raises(FeatureError, match="files of one kind"):
        open_features(tmp_path, layout=I3D)


def test_a_missing_video_names_the_closest(tmp_path):
    np.save(tmp_path / "video_test_0001.npy", array())
    with pytest.raises(FeatureError, match="video_test_0001"):
        open_features(tmp_path, layout=I3D).load("video_test_0002")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride_frames": 4},
        {"stride_frames": 4, "window_frames": 16, "resampled_to": 100},
        {"stride_frames": 0, "window_frames": 16},
        {"stride_frames": 4, "window_frames": 16, "fps": float("nan")},
        {"resampled_to": 100, "axes": "TCX"},
    ],
)
def test_a_layout_without_a_usable_time_is_refused(settings):
    with pytest.raises(ConfigError):
        Layout(**settings)


def test_a_layout_survives_json():
    assert Layout.from_dict(I3D.as_dict()) == I3D
    with pytest.raises(ConfigError, match="window"):
        Layout.from_dict({"window": 3})
