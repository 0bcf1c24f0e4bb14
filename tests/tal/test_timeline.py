"""SnippetGrid against brute force, and against the formulas of published features."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal import SnippetGrid
from tal.errors import GridError
from tal.timeline import check_one_grid

rates = st.sampled_from([10.0, 15.0, 23.976, 25.0, 29.97, 30.0, 59.94])
grids = st.builds(
    SnippetGrid.from_frames,
    count=st.integers(1, 3000),
    fps=rates,
    stride_frames=st.integers(1, 32),
    window_frames=st.integers(1, 64),
    offset_frames=st.integers(-16, 64),
)


@given(grids, st.floats(0, 1e5))
def test_seconds_to_index_and_back(grid, time_s):
    assert grid.to_seconds(grid.to_idx(time_s)) == pytest.approx(time_s, abs=1e-7)


@given(grids)
def test_index_i_is_the_centre_of_snippet_i(grid):
    centers = [grid.offset_s + i * grid.stride_s + grid.window_s / 2 for i in range(min(grid.count, 50))]
    np.testing.assert_allclose(grid.to_seconds(np.arange(len(centers))), centers, rtol=1e-12)
    np.testing.assert_allclose(grid.centers_s[: len(centers)], centers, rtol=1e-12)
    np.testing.assert_allclose((grid.starts_s + grid.ends_s) / 2, grid.centers_s, rtol=1e-12, atol=1e-9)
    assert grid.end_s == pytest.approx(grid.ends_s[-1])


@given(rates, st.integers(1, 32), st.integers(1, 64), st.floats(0, 3600))
def test_conversion_is_actionformers_formula(fps, stride, window, time_s):
    """grid = sec * fps / stride - 0.5 * window / stride (happyharrycn/actionformer_release, thumos14.py)."""
    grid = SnippetGrid.from_frames(count=10, fps=fps, stride_frames=stride, window_frames=window)
    assert grid.to_idx(time_s) == pytest.approx(time_s * fps / stride - 0.5 * window / stride, abs=1e-6)


@given(grids, st.data())
def test_slices_keep_their_times(grid, data):
    first = data.draw(st.integers(0, grid.count))
    stop = data.draw(st.integers(first, grid.count))
    part = grid.slice(first, stop)
    np.testing.assert_allclose(part.centers_s, grid.centers_s[first:stop], rtol=0, atol=1e-9)


@given(grids, st.integers(1, 400))
def test_resampled_rows_stand_where_interpolation_takes_them_from(grid, count):
    """Linear interpolation of the snippets' own centre times gives the new centres (align_corners=False)."""
    new = grid.resampled(count)
    position = (np.arange(count) + 0.5) * grid.count / count - 0.5
    np.testing.assert_allclose(new.centers_s, grid.to_seconds(position), rtol=1e-9, atol=1e-9)
    assert new.window_s >= new.stride_s - 1e-12 or new.window_s >= grid.window_s


@given(st.integers(1, 2000), rates)
def test_resampled_activitynet_features(length, fps):
    """Stride ((T0 - 1) * 16 + 16) / 192 frames, window equal to it (happyharrycn/actionformer_release, anet.py)."""
    grid = SnippetGrid.from_frames(count=length, fps=fps, stride_frames=16, window_frames=16).resampled(192)
    stride_s = ((length - 1) * 16 + 16) / 192 / fps
    assert grid.stride_s == pytest.approx(stride_s)
    assert grid.window_s == pytest.approx(stride_s)
    assert grid.offset_s == pytest.approx(0, abs=1e-9)


@given(grids.filter(lambda grid: grid.window_s >= grid.stride_s), st.integers(1, 400))
def test_resampling_keeps_the_span_and_can_be_undone(grid, count):
    new = grid.resampled(count)
    assert new.offset_s == pytest.approx(grid.offset_s, abs=1e-6)
    assert new.end_s == pytest.approx(grid.end_s, abs=1e-6)


def test_spanning_shares_the_duration():
    grid = SnippetGrid.spanning(60.0, 100)
    assert grid.centers_s[0] == pytest.approx(0.3)
    assert grid.end_s == pytest.approx(60.0)


@pytest.mark.parametrize("duration_s", [100.0, 100.6, 99.2, 98.2])
def test_a_grid_may_miss_its_video_by_a_window(duration_s):
    SnippetGrid.from_frames(count=747, fps=30, stride_frames=4, window_frames=16).check_duration(duration_s)


@pytest.mark.parametrize(
    ("fps", "stride", "cause"),
    [
        (25, 4, "features of 30 frames per second are described as of 25"),
        (30, 8, "2 times too long"),
        (30, 1, "4 times too short"),
        (20, 4, "features of 15 frames per second are described as of 10, or a like ratio"),
    ],
)
def test_a_wrong_grid_is_refused_with_both_numbers_and_the_cause(fps, stride, cause):
    grid = SnippetGrid.from_frames(count=747, fps=fps, stride_frames=stride, window_frames=16)
    with pytest.raises(GridError) as error:
        grid.check_duration(100.0, name="video_1")
    assert f"{grid.end_s:.2f} s" in str(error.value)
    assert "100.00 s" in str(error.value)
    assert re.search(cause, str(error.value))


@pytest.mark.parametrize("bad", [{"stride_s": 0}, {"window_s": -1}, {"stride_s": float("nan")}, {"count": -1}])
def test_senseless_grids_are_refused(bad):
    with pytest.raises(GridError):
        SnippetGrid(**({"stride_s": 1.0, "window_s": 1.0, "count": 3} | bad))


def test_streams_of_one_grid_may_differ_in_windows_and_in_rows_at_the_end():
    slow = SnippetGrid(stride_s=0.4, window_s=0.8, count=20)
    fast = SnippetGrid(stride_s=0.4, window_s=0.4, count=19)
    assert check_one_grid("v", {"slow": slow, "fast": fast}) == 19


def test_a_stream_that_ends_early_is_refused():
    whole, half = (SnippetGrid(stride_s=0.4, window_s=0.4, count=count) for count in (100, 50))
    with pytest.raises(GridError, match=r"'flow' ends at 20.00 s, stream 'rgb' at 40.00 s"):
        check_one_grid("v", {"rgb": whole, "flow": half})


def test_a_stride_that_drifts_is_refused_where_it_has_drifted():
    grids = {name: SnippetGrid(stride_s=s, window_s=s, count=4) for name, s in (("rgb", 0.4), ("flow", 0.404))}
    assert check_one_grid("v", grids) == 4
    with pytest.raises(GridError, match="stream 'flow'"):
        check_one_grid("v", grids, count=1000)
