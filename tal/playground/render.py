"""A script to frames: backdrop, things, shadows, figures, camera and light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tal.playground.camera import MARGIN_X, MARGIN_Y, Shot, View
from tal.playground.exact import Dice
from tal.playground.paint import draw_figure
from tal.playground.props import choose_props, draw_prop
from tal.playground.scene import Backdrop, paint_backdrop
from tal.playground.script import Actor, Script

_SHADOW = 105  # of 255, under the feet


def frames(script: Script) -> Iterator[NDArray[np.uint8]]:
    """All frames of a video in order, (height, width, 3) uint8 RGB."""
    renderer = Renderer(script)
    for frame_idx in range(script.settings.frame_count):
        yield np.asarray(renderer.picture(1000.0 * frame_idx / script.settings.fps))


class Renderer:
    """Draws a script at any time.

    Args:
        script: What happens.
        figures: Draw the actors; without them, the same pictures with only their shadows.
    """

    def __init__(self, script: Script, *, figures: bool = True) -> None:
        self.script, self.figures = script, figures
        self._backdrops: dict[tuple[str, int], Backdrop] = {}
        self._shadow = _soft_disc()
        dice = script.dice.child("props")
        count = dice.whole(2, 4) if script.settings.difficulty == "hard" else 0
        self._props = choose_props(dice, script.settings.aspect, count)

    def picture(self, time_ms: float) -> Image.Image:
        """The frame at a time."""
        shot = self.script.shot_at(time_ms)
        view = shot.view_at(time_ms)
        picture = self._world(shot, view, time_ms)
        self._draw_props(picture, view, time_ms, near=False)
        for actor in self.script.actors:
            self._draw_actor(picture, actor, view, time_ms)
        self._draw_props(picture, view, time_ms, near=True)
        return _lit(picture, shot.light_at(time_ms), shot.tint)

    def _world(self, shot: Shot, view: View, time_ms: float) -> Image.Image:
        """What of the backdrop the camera sees."""
        settings = self.script.settings
        width, height = settings.width, settings.height
        key = shot.place, shot.place_idx
        if key not in self._backdrops:
            dice = Dice("place", *key)
            self._backdrops[key] = paint_backdrop(shot.place, dice, width, height)
        world = self._backdrops[key].at(time_ms / 1000.0)
        left = (view.x - settings.aspect / 2 / view.zoom) * height + MARGIN_X * width
        top = (view.y - 0.5 / view.zoom + MARGIN_Y) * height
        right, bottom = left + width / view.zoom, top + height / view.zoom
        if (left, top, right, bottom) == (int(left), int(top), int(left) + width, int(top) + height):
            return world.crop((int(left), int(top), int(right), int(bottom)))
        box = max(left, 0.0), max(top, 0.0), min(right, world.width), min(bottom, world.height)
        return world.resize((width, height), Image.Resampling.BILINEAR, box=box)

    def _draw_actor(self, picture: Image.Image, actor: Actor, view: View, time_ms: float) -> None:
        settings = self.script.settings
        strokes = actor.limbs_at(time_ms)
        foot_x, foot_y = to_picture(actor.x_at(time_ms), actor.ground_y, view, settings.aspect)
        unit = settings.height
        height = actor.body.height * view.zoom * unit
        middle = sum(each.x0 + each.x1 for each in strokes) / (2 * len(strokes))
        above = min(min(each.y0, each.y1) for each in strokes)
        spread = 1.0 / (1.0 + 2.0 * max(0.0, above))
        size = max(2, int(0.5 * height * spread)), max(2, int(0.13 * height * spread))
        shadow = self._shadow.resize(size)
        corner = int(foot_x * unit + middle * height - size[0] / 2), int(foot_y * unit - size[1] / 2)
        picture.paste((18, 18, 28), (*corner, corner[0] + size[0], corner[1] + size[1]), shadow)
        if self.figures:
            draw_figure(picture, strokes, actor.body, foot_x=foot_x * unit, foot_y=foot_y * unit, height=height)

    def _draw_props(self, picture: Image.Image, view: View, time_ms: float, *, near: bool) -> None:
        settings = self.script.settings
        for prop in self._props:
            if prop.near == near:
                place = prop.place(time_ms / 1000.0, settings.aspect)
                x, y = to_picture(*place, view, settings.aspect)
                radius = prop.radius * view.zoom * settings.height
                draw_prop(picture, prop, time_ms / 1000.0, x * settings.height, y * settings.height, radius)


def to_picture(x: float, y: float, view: View, aspect: float) -> tuple[float, float]:
    """A world point on the picture, both in picture heights."""
    return (x - view.x) * view.zoom + aspect / 2, (y - view.y) * view.zoom + 0.5


def _soft_disc() -> Image.Image:
    disc = Image.new("L", (64, 64))
    ImageDraw.Draw(disc).ellipse((12, 12, 52, 52), _SHADOW)
    return disc.filter(ImageFilter.GaussianBlur(6))


def _lit(picture: Image.Image, light: float, tint: tuple[float, float, float]) -> Image.Image:
    factors = [light * part for part in tint]
    if all(factor == 1.0 for factor in factors):
        return picture
    return picture.point([min(255, int(value * factor)) for factor in factors for value in range(256)])
