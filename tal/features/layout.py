"""Layout: what a person has to say about a feature folder that others made."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the files of a foreign folder are to be read, and which time each row stands for.

    Args:
        stride_frames: Frames from one row's start to the next's; needed unless `resampled_to` is given.
        window_frames: Frames that a row was computed from; needed unless `resampled_to` is given.
        offset_frames: Start of row 0 in frames.
        fps: Rate that these frames are counted at; None where each video's own rate in the annotations holds.
        resampled_to: T, where every video was resampled to that many rows that share its whole duration.
        key: Name of the array in an npz, or of the tensor in a pt that holds a dict; None where there is only one.
        columns: First channel that is read, and the one after the last, such as [0, 1024] for the RGB half of RGB and
            flow; null for all.
        axes: "TC" for one row per snippet, "CT" for one column per snippet.
        nan: Refuse NaN, or read it as 0 (joints that were not detected).
        prefix: What stands before the video's id in a file's name, e.g. "v_".
        name: What these features are, e.g. "i3d rgb+flow, kinetics"; part of the spec that a model remembers.

    Raises:
        ConfigError: time that is not described, or not positive.
    """

    stride_frames: float | None = None
    window_frames: float | None = None
    offset_frames: float = 0.0
    fps: float | None = None
    resampled_to: int | None = None
    key: str | None = None
    columns: tuple[int, int] | None = None
    axes: Literal["TC", "CT"] = "TC"
    nan: Literal["error", "zero"] = "error"
    prefix: str = ""
    name: str = "foreign"

    def __post_init__(self) -> None:
        if self.resampled_to is None and (self.stride_frames is None or self.window_frames is None):
            raise ConfigError(
                f"a feature layout with stride {self.stride_frames} and window {self.window_frames} frames",
                expected="both in frames, or resampled_to",
                todo="look them up where the features were published; a wrong stride shifts every segment",
            )
        if self.resampled_to is not None and (self.stride_frames is not None or self.window_frames is not None):
            raise ConfigError(
                "a feature layout with resampled_to and a stride or window in frames",
                expected="one of the two: resampled rows share the video's duration equally",
            )
        for name in ("stride_frames", "window_frames", "fps", "resampled_to"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"a feature layout with {name} = {value}", expected="a positive number")
        if self.columns is not None and not 0 <= self.columns[0] < self.columns[1]:
            raise ConfigError(
                f"a feature layout with columns {self.columns}",
                expected="the first and the one after the last, as 0 1024",
            )
        if self.axes not in ("TC", "CT") or self.nan not in ("error", "zero"):
            raise ConfigError(
                f"a feature layout with axes {self.axes!r} and nan {self.nan!r}",
                expected='axes "TC" or "CT", nan "error" or "zero"',
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Layout":
        """The inverse of `as_dict`.

        Raises:
            ConfigError: a name that is not a setting.
        """
        known = {entry.name for entry in fields(cls)}
        if not set(values) <= known:
            raise ConfigError(f"a feature layout with {sorted(set(values) - known)}", expected=f"among {sorted(known)}")
        if isinstance(values.get("columns"), list):  # as json has it
            values = {**values, "columns": tuple(values["columns"])}
        return cls(**values)
