"""Audio backbones: log-mel spectrograms in, vectors out. The sibling of `tal.backbones.base` for sound."""

from dataclasses import dataclass

from torch import Tensor, device, nn, zeros

from tal.audio.logmel import LogMel
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """What decides an audio backbone's numbers.

    Args:
        name: As typed on the command line, e.g. "vggish".
        weights: Where the weights are from; "random" where they carry no knowledge, "" where there are none.
        weights_hash: SHA-256 of the state dict's bytes, hex, first 16 digits; "" where there is none.
        log_mel: The spectrogram that it reads.
        example_frames: Frames of the spectrogram that it sees at once.
        stride_s: From one example's start to the next's, seconds.
        width: C, the length of a vector.
    """

    name: str
    weights: str
    weights_hash: str
    log_mel: LogMel
    example_frames: int
    stride_s: float
    width: int

    def __post_init__(self) -> None:
        if self.example_frames < 1 or self.width < 1:
            raise ConfigError(f"examples of {self.example_frames} frames, vectors of {self.width}")
        if not self.log_mel.hop_s <= self.stride_s < float("inf"):
            raise ConfigError(
                f"snippet stride of {self.stride_s} s", expected=f"{self.log_mel.hop_s:g} s, a frame, or more"
            )

    @property
    def sample_rate(self) -> int:
        """Samples per second that it hears."""
        return self.log_mel.sample_rate

    @property
    def window_s(self) -> float:
        """Time span of an example, seconds: frames times hop, as VGGish counts it. Its last window ends a bit later."""
        return self.example_frames * self.log_mel.hop_s

    @property
    def example_samples(self) -> int:
        """Samples that one example is made of."""
        return self.log_mel.window_samples + (self.example_frames - 1) * self.log_mel.hop_samples

    def first_frame(self, snippet: int) -> int:
        """The frame of the spectrogram, `hop_s` apart, that is nearest to the start of a snippet."""
        return int(snippet * self.stride_s / self.log_mel.hop_s + 0.5)


class AudioBackbone(nn.Module):
    """A network on examples of sound, with its spec. Subclasses or builders set `spec` and implement `forward`."""

    spec: AudioSpec

    @property
    def device(self) -> device:
        """Where it runs; the CPU where it has no weights."""
        first = next(self.parameters(), None)
        return device("cpu") if first is None else first.device

    def forward(self, examples: Tensor) -> Tensor:
        """Features of examples.

        Args:
            examples: (B, example_frames, bands) log-mel, float32.

        Returns:
            (B, C) float32.
        """
        raise NotImplementedError

    def blank(self, examples: int = 1) -> Tensor:
        """Examples of the right shape, for measuring."""
        return zeros(examples, self.spec.example_frames, self.spec.log_mel.bands)
