"""Examples: pieces of a log-mel spectrogram, at a stride of choice, cut as the sound comes."""

import numpy as np
from numpy.typing import NDArray

from tal.audio.base import AudioSpec
from tal.audio.logmel import LogMelStream

Floats = NDArray[np.float32]


class ExampleStream:
    """Sound in, examples out, in memory of one example and one piece of sound.

    Snippet i begins with the spectrogram's frame nearest to i * stride_s: exact where the stride is a whole number of
    frames (VGGish's: 10 ms), within half a frame otherwise. Frames at the end that fill no further example are left
    out, as VGGish does; sound shorter than one example is filled up with silence.

    Args:
        spec: Of the backbone that reads the examples.
    """

    def __init__(self, spec: AudioSpec) -> None:
        self._spec, self._log_mel = spec, LogMelStream(spec.log_mel)
        self._frames: Floats = np.empty((0, spec.log_mel.bands), np.float32)
        self._first, self._samples = 0, 0
        self.count = 0

    def feed(self, samples: Floats) -> Floats:
        """(n, example_frames, bands) that are whole with these further (N,) samples."""
        self._samples += len(samples)
        self._frames = np.concatenate([self._frames, self._log_mel.feed(samples)])
        length, stop = self._spec.example_frames, self._first + len(self._frames)
        starts = []
        while (start := self._spec.first_frame(self.count)) + length <= stop:
            starts.append(start - self._first)
            self.count += 1
        examples = np.empty((len(starts), length, self._frames.shape[1]), np.float32)
        for row, begin in enumerate(starts):
            examples[row] = self._frames[begin : begin + length]
        dropped = min(start, stop) - self._first
        self._frames, self._first = self._frames[dropped:].copy(), self._first + dropped
        return examples

    def end(self) -> Floats:
        """The example of sound shorter than one; otherwise nothing."""
        missing = self._spec.example_samples - self._samples if self.count == 0 else 0
        return self.feed(np.zeros(missing, np.float32))
