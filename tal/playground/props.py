"""Things that move on their own, to distract: they have nothing to do with the actions."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from tal.playground.exact import Dice, sin_deg
from tal.playground.paint import SCALE, Colour

_TONES: tuple[Colour, ...] = ((226, 74, 70), (246, 190, 60), (86, 170, 220), (120, 190, 110), (240, 240, 236))


@dataclass(frozen=True, kw_only=True)
class Prop:
    """A ball that bounces across, a balloon that rises, or a bird that crosses the sky, again and again.

    Args:
        kind: "ball", "balloon" or "bird".
        colour: RGB.
        radius: Picture heights.
        x, y: Where it begins, picture heights.
        speed_x, speed_y: Picture heights per second.
        period_s: After this it begins again; of a bounce or wing beat for a ball or bird.
        near: Drawn in front of the figures.
    """

    kind: str
    colour: Colour
    radius: float
    x: float
    y: float
    speed_x: float
    speed_y: float
    period_s: float
    near: bool

    def place(self, time_s: float, aspect: float) -> tuple[float, float]:
        """Its centre in the world at a time, picture heights."""
        width = aspect + 1.0
        x = (self.x + self.speed_x * time_s + 0.5) % width - 0.5
        y = (self.y + self.speed_y * time_s + 0.3) % 1.5 - 0.3 if self.speed_y else self.y
        if self.kind == "ball":
            y -= 0.3 * abs(sin_deg(180.0 * time_s / self.period_s))
        elif self.kind == "balloon":
            x += 0.04 * sin_deg(360.0 * time_s / self.period_s)
        return x, y


def choose_props(dice: Dice, aspect: float, count: int) -> tuple[Prop, ...]:
    """Some things that move, by chance."""
    return tuple(_choose(dice.child(prop_idx), aspect) for prop_idx in range(count))


def _choose(dice: Dice, aspect: float) -> Prop:
    kind = dice.pick(("ball", "ball", "balloon", "bird"))
    sign = dice.pick((-1.0, 1.0))
    y, speed_y, radius = {
        "ball": (dice.between(0.88, 0.96), 0.0, dice.between(0.025, 0.045)),
        "balloon": (dice.between(0.0, 1.0), -dice.between(0.04, 0.12), dice.between(0.035, 0.05)),
        "bird": (dice.between(0.06, 0.3), 0.0, dice.between(0.03, 0.045)),
    }[kind]
    return Prop(
        kind=kind,
        colour=dice.pick(_TONES),
        radius=radius,
        x=dice.between(0.0, aspect),
        y=y,
        speed_x=sign * (0.01 if kind == "balloon" else dice.between(0.12, 0.4)),
        speed_y=speed_y,
        period_s=dice.between(0.5, 1.1) if kind != "balloon" else dice.between(2.0, 4.0),
        near=dice.chance(0.5),
    )


def draw_prop(picture: Image.Image, prop: Prop, time_s: float, x: float, y: float, radius: float) -> None:
    """Draw it with its centre at (x, y), all in pixels."""
    reach = int(3 * radius) + 2
    x0, y0 = int(x) - reach, int(y) - reach
    large = Image.new("RGBA", (2 * reach * SCALE, 2 * reach * SCALE))
    draw = ImageDraw.Draw(large)
    cx, cy, r = (x - x0) * SCALE, (y - y0) * SCALE, radius * SCALE
    dark = tuple(part // 2 for part in prop.colour)
    if prop.kind == "bird":
        wing = r * sin_deg(360.0 * time_s / (0.5 * prop.period_s))
        for side in (-1, 1):
            points = ((cx, cy), (cx + side * 0.9 * r, cy - 0.6 * wing), (cx + side * 1.9 * r, cy + 0.2 * r - wing))
            draw.line(points, (52, 54, 64), max(2, int(0.3 * r)), joint="curve")
    else:
        if prop.kind == "balloon":
            draw.line((cx, cy, cx, cy + 2.6 * r), dark, max(1, SCALE // 2))
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), dark)
        edge = 0.12 * r
        draw.ellipse((cx - r + edge, cy - r + edge, cx + r - edge, cy + r - edge), prop.colour)
        shine = tuple(min(255, part + 70) for part in prop.colour)
        draw.ellipse((cx - 0.55 * r, cy - 0.6 * r, cx - 0.05 * r, cy - 0.15 * r), shine)
    small = large.reduce(SCALE)
    picture.paste(small, (x0, y0), small)
