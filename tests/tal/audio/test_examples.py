"""Examples are pieces of the whole spectrogram, at any stride, however the sound comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.audio import LogMel, log_mel
from tal.audio.base import AudioSpec
from tal.audio.examples import ExampleStream
from tal.errors import ConfigError

SMALL = LogMel(sample_rate=800, window_s=0.02, hop_s=0.01, bands=4, lowest_hz=20, highest_hz=380)


def spec_of(stride_s, example_frames=5, settings=SMALL):
    return AudioSpec(
        name="a",
        weights="",
        weights_hash="",
        log_mel=settings,
        example_frames=example_frames,
        stride_s=stride_s,
        width=4,
    )


def expected(samples, spec):
    """Cut out of the whole spectrogram, with silence only where there is less than one example."""
    needed = spec.example_samples
    if len(samples) < needed:
        samples = np.concatenate([samples, np.zeros(needed - len(samples), np.float32)])
    whole, rows = log_mel(samples, spec.log_mel), []
    while (first := int(np.floor(len(rows) * spec.stride_s / spec.log_mel.hop_s + 0.5))) + spec.example_frames <= len(
        whole
    ):
        rows.append(whole[first : first + spec.example_frames])
    return np.stack(rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 90), max_size=9),
    st.sampled_from([0.01, 0.02, 0.05, 0.07, 0.12, 0.0267, 0.0333]),
    st.integers(1, 6),
)
def test_pieces_give_the_examples_of_the_whole(lengths, stride_s, frames):
    samples = np.random.default_rng(len(lengths)).uniform(-1, 1, sum(lengths)).astype(np.float32)
    spec = spec_of(stride_s, frames)
    stream = ExampleStream(spec)
    parts = [stream.feed(part) for part in np.split(samples, np.cumsum(lengths))]
    assert np.array_equal(np.concatenate([*parts, stream.end()]), expected(samples, spec))


def test_vggish_counts_examples_as_its_authors_do():
    settings = LogMel()
    for seconds, count in [(0.1, 1), (0.97, 1), (0.975, 1), (1.92, 1), (1.935, 2), (10, 10)]:
        stream = ExampleStream(spec_of(0.96, 96, settings))
        assert len(stream.feed(np.zeros(round(seconds * 16_000), np.float32))) + len(stream.end()) == count, seconds


def test_a_stride_of_no_whole_frames_stays_within_half_a_frame():
    spec = spec_of(4 / 15, 96, LogMel())
    starts_s = np.array([spec.first_frame(number) for number in range(2000)]) * 0.01
    assert np.abs(starts_s - np.arange(2000) * spec.stride_s).max() <= 0.005 + 1e-9
    assert spec.window_s == pytest.approx(0.96)


@pytest.mark.parametrize("stride_s", [0.0, -1.0, 0.009, float("inf"), float("nan")])
def test_impossible_strides_are_refused(stride_s):
    with pytest.raises(ConfigError, match="stride"):
        spec_of(stride_s)
