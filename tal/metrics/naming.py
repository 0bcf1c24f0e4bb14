"""How metrics are called."""


def threshold_name(value: float) -> str:
    """A threshold as it stands in metric names: 0.5 -> "0.50"."""
    return f"{value:.2f}" if abs(value - round(value, 2)) < 1e-9 else f"{value:.6g}"


def offset_name(seconds: float) -> str:
    """How a tolerance in seconds is written in a metric's name: "1.0", in tenths unless that would lose something."""
    return f"{seconds:.1f}" if abs(seconds - round(seconds, 1)) < 1e-9 else f"{seconds:.6g}"
