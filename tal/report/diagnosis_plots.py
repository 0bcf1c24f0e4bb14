"""The plots of a diagnosis, as SVG: bars, stacked bars and intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tal.report.diagnosis_svg import box, line, svg, words

_GUTTER = 44
_TOP = 16
_ROW = 24


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A row of an interval plot: a value with its range, and its name."""

    name: str
    value: float
    low: float
    high: float
    hint: str = ""


def stacked_bars(
    names: Sequence[str],
    shares: Sequence[Mapping[str, float]],
    kinds: Mapping[str, str],
    *,
    label: str,
    width: float = 560,
    height: float = 300,
) -> str:
    """Bars that fill up to 1, one per name, of parts in the order of `kinds` (class of the part -> its name).

    A bar of NaN, which has nothing in it, is left empty and says so.
    """
    plane = height - _TOP - 40
    step = (width - _GUTTER) / len(names)
    parts = [_share_axis(width, plane)]
    for position, (name, values) in enumerate(zip(names, shares, strict=True)):
        x, y = _GUTTER + step * (position + 0.1), _TOP + plane
        for kind, meaning in kinds.items():
            share = values[kind]
            if not math.isnan(share):
                y -= share * plane
                hint = f"{name}, {meaning}: {share:.3f}"
                parts.append(box(x, y, step * 0.8, share * plane, f"k-{kind}", hint))
        if all(map(math.isnan, values.values())):
            parts.append(words(x + step * 0.4, _TOP + plane - 6, "none", "soft", "middle"))
        parts.append(words(x + step * 0.4, _TOP + plane + 17, name, "", "middle"))
    return svg(width, height, label, *parts)


def bars(
    names: Sequence[tuple[str, str]],
    values: Sequence[float],
    *,
    label: str,
    class_: str,
    overall: float,
    hints: Sequence[str],
    width: float = 360,
    height: float = 230,
) -> str:
    """Upright bars of fractions, each with its name in two lines, and a dashed line for the whole set."""
    plane = height - _TOP - 44
    top = _round_up(max([each for each in (*values, overall) if not math.isnan(each)], default=1.0))
    step = (width - _GUTTER) / len(names)
    y = _TOP + plane * (1 - overall / top)
    parts = [_share_axis(width, plane, top)]
    numbers = []
    for position, (name, value, hint) in enumerate(zip(names, values, hints, strict=True)):
        middle = _GUTTER + step * (position + 0.5)
        if math.isnan(value):
            parts.append(words(middle, _TOP + plane - 6, "none", "soft", "middle"))
        else:
            high = plane * value / top
            parts.append(box(middle - step * 0.36, _TOP + plane - high, step * 0.72, high, class_, hint))
            inside = high > _ROW  # at the foot of the bar, away from the dashed line
            place = (plane - 7, "value inside") if inside else (plane - high - 4, "value")
            numbers.append(words(middle, _TOP + place[0], f"{value:.2f}", place[1], "middle"))
        parts.append(words(middle, _TOP + plane + 16, name[0], "", "middle"))
        parts.append(words(middle, _TOP + plane + 31, name[1], "soft small", "middle"))
    return svg(width, height, label, *parts, line(_GUTTER, y, width, y, "overall"), *numbers)


def gain_bars(
    rows: Sequence[tuple[str, str, float, str]], *, label: str, width: float = 520, gutter: float = 140
) -> str:
    """Lying bars of (class, name, gain, hint); a gain below 0 points to the left."""
    largest = max([abs(row[2]) for row in rows], default=0.0) or 1.0
    lowest = min([row[2] for row in rows] + [0.0])
    room = width - gutter - 62
    scale = room / (largest + max(-lowest, 0.0))
    zero = gutter + max(-lowest, 0.0) * scale
    parts = []
    for position, (class_, name, gain, hint) in enumerate(rows):
        y = position * _ROW
        begin = zero + min(gain, 0.0) * scale
        parts.append(words(gutter - 10, y + 16, name, "", "end"))
        parts.append(box(begin, y + 4, max(abs(gain) * scale, 1.0), _ROW - 8, class_, hint))
        parts.append(words(max(zero, begin + abs(gain) * scale) + 6, y + 16, f"{gain:+.4f}", "value"))
    return svg(width, _ROW * len(rows) + 4, label, line(zero, 0, zero, _ROW * len(rows) + 4, "axis"), *parts)


def intervals(
    rows: Sequence[Interval], *, label: str, signed: bool = False, width: float = 520, gutter: float = 140
) -> str:
    """Points with their ranges, one row each. `signed` numbers are differences, around a line at 0."""
    known = [each for row in rows for each in (row.value, row.low, row.high) if not math.isnan(each)]
    low, high = min([*known, 0.0] if signed else known), max([*known, 0.0] if signed else known)
    margin = (high - low) * 0.06 or 0.01
    low, high = low - margin, high + margin
    room = width - gutter - 66

    def at(value: float) -> float:
        return gutter + room * (value - low) / (high - low)

    height = _ROW * len(rows)
    parts = [
        part
        for tick in _ticks(low, high)
        for part in (
            line(at(tick), 0, at(tick), height, "overall" if signed and tick == 0 else "grid"),
            words(at(tick), height + 16, _tick_name(tick, signed), "soft small", "middle"),
        )
    ]
    for position, row in enumerate(rows):
        y = position * _ROW + _ROW / 2
        if not (math.isnan(row.low) or math.isnan(row.high)):
            parts.append(line(at(row.low), y, at(row.high), y, "whisker"))
        parts.append(words(gutter - 10, y + 4, row.name, "", "end"))
        parts.append(box(at(row.value) - 4, y - 4, 8, 8, "point", row.hint, rx=4))
        parts.append(words(width - 58, y + 4, f"{row.value:+.4f}" if signed else f"{row.value:.4f}", "value"))
    return svg(width, height + 22, label, *parts)


def _share_axis(width: float, plane: float, top: float = 1.0) -> str:
    """Lines at round fractions up to `top`, with their values."""
    parts = []
    for value in _ticks(0.0, top):
        y = _TOP + plane * (1 - value / top)
        parts.append(line(_GUTTER, y, width, y, "grid" if value else "axis"))
        parts.append(words(_GUTTER - 8, y + 4, f"{value:g}", "soft small", "end"))
    return "".join(parts)


def _round_up(value: float) -> float:
    """The next round fraction that leaves room above."""
    return next((top for top in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8) if value * 1.08 <= top), 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """Round values in a range: about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    slack = 1e-9
    first, last = math.ceil(low / step - slack), math.floor(high / step + slack)
    return [round(step * number, 12) for number in range(first, last + 1)]


def _tick_name(value: float, signed: bool) -> str:
    name = f"{value:.4f}".rstrip("0").rstrip(".")
    return f"+{name}" if signed and value > 0 else name or "0"
