"""Summary: what became of the videos, how fast it went, and what would make it faster."""

from dataclasses import dataclass, field
from typing import Literal

from tal.features.store import Failure


@dataclass(kw_only=True)
class Summary:
    """What became of the videos.

    Args:
        done: Ids whose features were made now.
        skipped: Ids that were finished before.
        failed: Failures of now, and those of before that were not tried again.
        replaced: Ids whose file was another one than the store's record says; their features were made anew.
        video_s: Seconds of video in `done`.
        wall_s: Seconds that it took.
        waited_s: Of these, seconds in which the network had to wait for frames.
        decode_s, network_s: Seconds in which decoders worked, summed over `decoders` of them, and the network.
        decoders: Videos decoded at once.
        device: Where the network ran.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    video_s: float = 0.0
    wall_s: float = 0.0
    waited_s: float = 0.0
    decode_s: float = 0.0
    network_s: float = 0.0
    decoders: int = 1
    device: str = "cpu"

    @property
    def binding(self) -> Literal["decoding", "the network"]:
        """What a faster machine would have to do faster."""
        return "decoding" if self.waited_s > 0.5 * self.wall_s else "the network"

    @property
    def decode_rate(self) -> float:
        """Seconds of video that the decoders gave per second in which all of them worked; 0 if not known."""
        return self.video_s * self.decoders / self.decode_s if self.decode_s else 0.0

    @property
    def network_rate(self) -> float:
        """Seconds of video per second in which the network worked; 0 if not known."""
        return self.video_s / self.network_s if self.network_s else 0.0

    @property
    def advice(self) -> str:
        """One thing to try first."""
        on_gpu = self.device.startswith("cuda")
        if self.binding == "decoding":
            more = f"--decoders {2 * self.decoders}, if there are cores for them"
            return f"{more}, or --decoder auto, which lets the GPU decode large videos" if on_gpu else more
        if on_gpu:
            return "a backbone in bfloat16, a larger --batch-clips, or another GPU with --shard"
        return "a GPU, a smaller backbone, or a longer --stride-s"

    def rates(self) -> str:
        """What binds, the rates, and what to do, in one line."""
        told = f"{self.binding} binds"
        if self.decode_s and self.network_s:
            told += f" (decoding {self.decode_rate:.1f} x, the network {self.network_rate:.1f} x)"
        return f"{told}; to go faster: {self.advice}"
