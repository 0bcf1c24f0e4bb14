"""Log-mel spectrograms equal a transform written out term by term, whole or in pieces."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.audio import LogMel, LogMelStream, log_mel
from tal.errors import ConfigError, TalError

SMALL = LogMel(sample_rate=800, window_s=0.02, hop_s=0.01, bands=4, lowest_hz=20, highest_hz=380)


def slow_log_mel(samples, settings):
    """Sums as in the definition, without any transform library."""
    length, hop = round(settings.sample_rate * settings.window_s), round(settings.sample_rate * settings.hop_s)
    size = 2 ** math.ceil(math.log2(length))

    def mel(frequency_hz):
        return 1127 * math.log(1 + frequency_hz / 700)

    low, high = mel(settings.lowest_hz), mel(settings.highest_hz)
    edges = [low + (high - low) * number / (settings.bands + 1) for number in range(settings.bands + 2)]
    rows = []
    for first in range(0, len(samples) - length + 1, hop):
        window = [samples[first + n] * (0.5 - 0.5 * math.cos(2 * math.pi * n / length)) for n in range(length)]
        row = []
        for band in range(settings.bands):
            total = 0.0
            for k in range(1, size // 2 + 1):
                at = mel(k * settings.sample_rate / size)
                up = (at - edges[band]) / (edges[band + 1] - edges[band])
                down = (edges[band + 2] - at) / (edges[band + 2] - edges[band + 1])
                terms = (value * cmath.exp(-2j * math.pi * k * n / size) for n, value in enumerate(window))
                total += max(0.0, min(up, down)) * abs(sum(terms))
            row.append(math.log(total + settings.offset))
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, settings.bands)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), max_size=60))
def test_equals_the_sums_of_the_definition(samples):
    assert log_mel(np.array(samples, np.float32), SMALL) == pytest.approx(slow_log_mel(samples, SMALL), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8), st.integers(0, 2**16))
def test_pieces_give_the_same_frames(lengths, seed):
    samples = np.random.default_rng(seed).uniform(-1, 1, sum(lengths)).astype(np.float32)
    stream = LogMelStream(SMALL)
    rows = [stream.feed(part) for part in np.split(samples, np.cumsum(lengths))]
    assert np.array_equal(np.concatenate(rows), log_mel(samples, SMALL))


def test_vggish_settings_give_96_frames_of_64_bands_per_example():
    settings = LogMel()
    assert (settings.window_samples, settings.hop_samples, settings.fft_samples) == (400, 160, 512)
    assert log_mel(np.zeros(400 + 95 * 160)).shape == (96, 64)
    assert log_mel(np.zeros(399)).shape == (0, 64)
    assert log_mel(np.zeros(400)) == pytest.approx(math.log(0.01))


def test_a_tone_is_loudest_in_the_band_around_its_frequency():
    settings = LogMel()
    rows = log_mel(np.sin(2 * np.pi * 1000 * np.arange(1600) / 16_000), settings)
    band = int(rows[0].argmax())
    centre = settings.filters[:, band].argmax() * 16_000 / 512
    assert abs(centre - 1000) < 60


@pytest.mark.parametrize("wrong", [{"highest_hz": 9000}, {"lowest_hz": 8000}, {"bands": 0}, {"hop_s": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        LogMel(**wrong)


def test_several_channels_are_refused():
    with pytest.raises(TalError, match="one channel"):
        log_mel(np.zeros((100, 2)))
