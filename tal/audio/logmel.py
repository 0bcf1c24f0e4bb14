"""Log-mel spectrograms as VGGish defines them (tensorflow/models, research/audioset/vggish, mel_features.py).

Windows are not padded, the magnitude (not the power) of the spectrum is summed in triangular bands of the HTK mel
scale, the band at 0 Hz counts nothing, and a constant is added before the logarithm.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import ConfigError, TalError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LogMel:
    """Settings of a log-mel spectrogram; the defaults are VGGish's.

    Args:
        sample_rate: Hz.
        window_s, hop_s: Length of a window, and from one to the next.
        bands: Mel bands.
        lowest_hz, highest_hz: Edges of the lowest and of the highest band.
        offset: Added before the logarithm.

    Raises:
        ConfigError: a window of no sample, or bands outside what the rate can hold.
    """

    sample_rate: int = 16_000
    window_s: float = 0.025
    hop_s: float = 0.010
    bands: int = 64
    lowest_hz: float = 125.0
    highest_hz: float = 7500.0
    offset: float = 0.01

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or self.window_samples < 1 or self.hop_samples < 1 or self.bands < 1:
            raise ConfigError(f"{self}", expected="a rate, a window, a hop and bands of at least one")
        if not 0 <= self.lowest_hz < self.highest_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"bands from {self.lowest_hz:g} to {self.highest_hz:g} Hz at {self.sample_rate} samples per second",
                expected=f"0 <= lowest < highest <= {self.sample_rate / 2:g} Hz",
            )

    @property
    def window_samples(self) -> int:
        """Samples of a window."""
        return round(self.sample_rate * self.window_s)

    @property
    def hop_samples(self) -> int:
        """Samples from one window to the next."""
        return round(self.sample_rate * self.hop_s)

    @property
    def fft_samples(self) -> int:
        """Length of the Fourier transform: the next power of two."""
        return 1 << (self.window_samples - 1).bit_length()

    def frames(self, samples: int) -> int:
        """Number of whole windows in so many samples."""
        return max(0, 1 + (samples - self.window_samples) // self.hop_samples)

    @cached_property
    def window(self) -> Floats:
        """(window_samples,) periodic Hann window."""
        count = self.window_samples
        return 0.5 - 0.5 * np.cos(2 * np.pi / count * np.arange(count))

    @cached_property
    def filters(self) -> Floats:
        """(fft_samples / 2 + 1, bands) weight of each frequency in each band."""
        bins = _mel(np.linspace(0, self.sample_rate / 2, self.fft_samples // 2 + 1))[:, None]
        edges = np.linspace(_mel(self.lowest_hz), _mel(self.highest_hz), self.bands + 2)
        low, centre, high = edges[:-2], edges[1:-1], edges[2:]
        weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
        weights[0] = 0.0
        return weights


def log_mel(samples: ArrayLike, settings: LogMel | None = None) -> NDArray[np.float32]:
    """(frames, bands) log-mel spectrogram of (N,) samples in [-1, 1]; no frame where N is less than a window.

    Raises:
        TalError: samples of more than one channel.
    """
    chosen = settings or LogMel()
    values = np.asarray(samples, np.float64)
    if values.ndim != 1:
        raise TalError(f"samples of shape {values.shape}", expected="(N,): one channel")
    count = chosen.frames(len(values))
    if not count:
        return np.empty((0, chosen.bands), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, chosen.window_samples)[:: chosen.hop_samples]
    magnitude = np.abs(np.fft.rfft(windows * chosen.window, chosen.fft_samples))
    return np.log(magnitude @ chosen.filters + chosen.offset).astype(np.float32)


class LogMelStream:
    """`log_mel` of samples that come piece by piece: the same frames, in memory of one piece.

    Args:
        settings: Of the spectrogram.
    """

    def __init__(self, settings: LogMel | None = None) -> None:
        self._settings = settings or LogMel()
        self._kept: NDArray[np.float32] = np.empty(0, np.float32)

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(frames, bands) that are complete with these samples."""
        self._kept = np.concatenate([self._kept, samples])
        rows = log_mel(self._kept, self._settings)
        self._kept = self._kept[len(rows) * self._settings.hop_samples :]
        return rows


def _mel(frequency_hz: ArrayLike) -> Floats:
    """The mel scale as HTK has it."""
    return 1127.0 * np.log1p(np.asarray(frequency_hz, np.float64) / 700.0)
