"""The camera: shots, and where a point of the world is on the picture.

World and picture are measured in picture heights: x from the left edge, y from the top of what a camera at rest sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from tal.playground.exact import Dice, sin_deg, smooth
from tal.playground.settings import Settings

PLACES = ("park", "gym", "stage", "beach", "street", "studio")
MARGIN_X, MARGIN_Y = 0.5, 0.25  # of the world that is painted beyond the picture, in widths and heights of it


@dataclass(frozen=True, kw_only=True)
class View:
    """The world point (x, y) that the picture's centre shows, and how much larger the world is seen."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True, kw_only=True)
class Shot:
    """An uninterrupted piece of the video.

    Args:
        start_ms, end_ms: Its time.
        place: Name in `PLACES`.
        place_idx: Which place of that kind; one number is one backdrop.
        first, last: The view at its start and end.
        shake: Of a camera held by hand, picture heights.
        light: Brightness; 1 as painted.
        light_swing: Share by which the light comes and goes.
        light_s: Period of that.
        tint: Factors of red, green and blue.
    """

    start_ms: int
    end_ms: int
    place: str
    place_idx: int
    first: View
    last: View
    shake: float = 0.0
    light: float = 1.0
    light_swing: float = 0.0
    light_s: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def view_at(self, time_ms: float) -> View:
        """What the camera shows at a time."""
        share = smooth((time_ms - self.start_ms) / (self.end_ms - self.start_ms))
        a, b = self.first, self.last
        shake_x = self.shake * (sin_deg(0.36 * time_ms / 1.9) + 0.5 * sin_deg(0.36 * time_ms / 0.67))
        shake_y = self.shake * (sin_deg(0.36 * time_ms / 1.3 + 50.0) + 0.5 * sin_deg(0.36 * time_ms / 0.51))
        return View(
            x=a.x + (b.x - a.x) * share + shake_x,
            y=a.y + (b.y - a.y) * share + shake_y,
            zoom=a.zoom + (b.zoom - a.zoom) * share,
        )

    def light_at(self, time_ms: float) -> float:
        """Brightness at a time."""
        return self.light * (1.0 + self.light_swing * sin_deg(0.36 * time_ms / self.light_s))


def film(dice: Dice, settings: Settings, left_x: float, right_x: float, ground_y: float) -> tuple[Shot, ...]:
    """The shots of a video.

    Args:
        dice: Chance.
        settings: One shot without motion if "easy".
        left_x, right_x: Where the actors are at most.
        ground_y: Of the nearest actor.
    """
    centre = View(x=settings.aspect / 2, y=0.5, zoom=1.0)
    end_ms = settings.duration_ms
    place, place_idx = dice.pick(PLACES), dice.whole(0, 999_999)
    if settings.difficulty == "easy":
        return (Shot(start_ms=0, end_ms=end_ms, place=place, place_idx=place_idx, first=centre, last=centre),)
    shots: list[Shot] = []
    now = 0
    widest = min(1.3, max(0.85, settings.aspect / (right_x - left_x + 0.5)))
    while now < end_ms:
        until = now + int(1000 * dice.between(4.0, 10.0))
        until = end_ms if until > end_ms - 2500 else until
        if shots and dice.chance(0.5):
            place, place_idx = dice.pick(PLACES), dice.whole(0, 999_999)
        first = _view(dice, settings, left_x, right_x, ground_y, widest)
        moves = dice.chance(0.7)
        shots.append(
            Shot(
                start_ms=now,
                end_ms=until,
                place=place,
                place_idx=place_idx,
                first=first,
                last=_view(dice, settings, left_x, right_x, ground_y, widest) if moves else first,
                shake=dice.between(0.002, 0.009) if dice.chance(0.6) else 0.0,
                light=dice.between(0.6, 1.15),
                light_swing=dice.between(0.05, 0.25) if dice.chance(0.5) else 0.0,
                light_s=dice.between(0.4, 5.0),
                tint=(dice.between(0.85, 1.1), dice.between(0.9, 1.05), dice.between(0.8, 1.1)),
            )
        )
        now = until
    return tuple(shots)


def _view(dice: Dice, settings: Settings, left_x: float, right_x: float, ground_y: float, widest: float) -> View:
    zoom = dice.between(0.85, widest)
    aim = (left_x + right_x) / 2
    slack = min(0.3, max(0.0, (settings.aspect / zoom - (right_x - left_x + 0.45)) / 2))
    x = aim + dice.between(-1.0, 1.0) * slack
    reach = settings.aspect * (0.5 + MARGIN_X - 0.5 / zoom) - 0.02  # the painted world's edges stay out of sight
    centre = settings.aspect / 2
    return View(
        x=min(max(x, centre - reach), centre + reach),
        y=ground_y + dice.between(0.03, 0.07) - 0.5 / zoom,
        zoom=zoom,
    )
