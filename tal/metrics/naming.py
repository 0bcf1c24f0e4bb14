"""How metrics are called."""


def threshold_name(value: float) -> str:
    """A threshold as it stands in metric names: 0.5 -> "0.50"."""
    return f"{value:.2f}" if abs(value - round(value, 2)) < 1e-9 else f"{value:.6g}"
