"""Markup from plain values: every attribute and every text is escaped here, and nowhere else."""

import html
import math
from typing import Any


def tag(name: str, *inside: str, **attributes: Any) -> str:
    """An element. `inside` is markup; None leaves an attribute out; class_ and x_y are written class and x-y."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{words}>{''.join(inside)}</{name}>"


def text(value: object) -> str:
    """Text from outside as markup; bytes of file names that are no text are replaced."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def svg(width: float, height: float, label: str, *inside: str, class_: str = "plot") -> str:
    """A picture that shrinks with its place; `label` is what it shows, for those who cannot see it."""
    return tag(
        "svg",
        *inside,
        class_=class_,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def box(x: float, y: float, width: float, height: float, class_: str, hint: str = "", **attributes: Any) -> str:
    """A rectangle that tells `hint` under the pointer."""
    told = tag("title", text(hint)) if hint else ""
    return tag("rect", told, x=x, y=y, width=max(width, 0.0), height=height, class_=class_, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def words(x: float, y: float, value: object, class_: str = "", anchor: str = "start") -> str:
    """Text that begins, is centred ("middle") or ends ("end") at x; y is its base line."""
    return tag("text", text(value), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
    return str(value).encode("utf-8", "replace").decode("utf-8")
