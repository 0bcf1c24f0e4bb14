"""Backdrops: six kinds of place, each painted anew, in layers of which some drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tal.playground.camera import MARGIN_X, MARGIN_Y
from tal.playground.exact import Dice, sin_deg
from tal.playground.paint import Colour


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One painted sheet as wide and high as the world, or wider.

    Args:
        picture: RGB.
        mask: L; None: it covers everything.
        drift_per_s: Pixels to the left each second, without end: the sheet repeats.
        swing: Pixels of swinging to and fro instead, and its period in seconds.
    """

    picture: Image.Image
    mask: Image.Image | None = None
    drift_per_s: float = 0.0
    swing: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """The layers of one place, from the farthest to the nearest.

    Args:
        layers: Painted sheets.
        size: (width, height) of the world in pixels at zoom 1.
    """

    layers: tuple[Layer, ...]
    size: tuple[int, int]

    def at(self, time_s: float) -> Image.Image:
        """The world without figures at a time."""
        world = self.layers[0].picture.copy() if not self.layers[0].drift_per_s else Image.new("RGB", self.size)
        for layer in self.layers[0 if self.layers[0].drift_per_s else 1 :]:
            shift = layer.drift_per_s * time_s + layer.swing[0] * sin_deg(360.0 * time_s / layer.swing[1])
            _paste_repeating(world, layer, int(shift) % layer.picture.width)
        return world


def _paste_repeating(world: Image.Image, layer: Layer, shift: int) -> None:
    for left in (-shift, layer.picture.width - shift):
        if left < world.width and left + layer.picture.width > 0:
            world.paste(layer.picture, (left, 0), layer.mask)


def paint_backdrop(place: str, dice: Dice, width: int, height: int) -> Backdrop:
    """Paint a place for a picture of the given size; the world reaches beyond the picture by the margins."""
    size = round(width * (1 + 2 * MARGIN_X)), round(height * (1 + 2 * MARGIN_Y))
    horizon = round(height * (MARGIN_Y + dice.between(0.56, 0.66)))
    brush = _Brush(dice, size, horizon, height)
    return Backdrop(layers=tuple(_PAINTERS[place](brush)), size=size)


class _Brush:
    """What the painters share: size, horizon, chance, and textures."""

    def __init__(self, dice: Dice, size: tuple[int, int], horizon: int, unit: int) -> None:
        self.dice, self.size, self.horizon, self.unit = dice, size, horizon, unit

    def gradient(self, top: Colour, bottom: Colour, size: tuple[int, int] | None = None) -> Image.Image:
        """From one colour at the top to another at the bottom."""
        column = Image.new("RGB", (1, 2))
        column.putpixel((0, 0), top)
        column.putpixel((0, 1), bottom)
        return column.resize(size or self.size, Image.Resampling.BILINEAR)

    def noise(self, size: tuple[int, int], grain: float, octaves: int = 3, flat: float = 1.0) -> Image.Image:
        """Grey cloudy noise (L), `grain` pixels coarse and `flat` times less high; each octave is half as coarse.

        It repeats to the side.
        """
        total: Image.Image | None = None
        for octave in range(octaves):
            scale = 2**octave / grain
            cells = max(2, round(size[0] * scale)), max(2, round(size[1] * scale * flat))
            values = bytes(self.dice.whole(0, 255) for _ in range(cells[0] * cells[1]))
            tile = Image.frombytes("L", cells, values)
            wrapped = Image.new("L", (cells[0] + 4, cells[1]))
            for left in (-cells[0] + 2, 2, cells[0] + 2):
                wrapped.paste(tile, (left, 0))
            step = size[0] / cells[0]
            sheet = wrapped.resize(
                (round((cells[0] + 4) * step), size[1]), Image.Resampling.BICUBIC
            ).crop((round(2 * step), 0, round(2 * step) + size[0], size[1]))  # fmt: skip
            total = sheet if total is None else Image.blend(total, sheet, 0.4)
        assert total is not None
        return total

    def textured(self, picture: Image.Image, grain: float, strength: float) -> Image.Image:
        """The picture made lighter and darker by noise."""
        sheet = self.noise(picture.size, grain)
        shade = sheet.point([int(255 * (1 - strength) + value * strength) for value in range(256)])
        return ImageChops.multiply(picture, Image.merge("RGB", (shade,) * 3))

    def floor(self, near: Colour, far: Colour, grain: float, strength: float) -> Layer:
        """The ground below the horizon."""
        ground = self.textured(self.gradient(far, near), grain, strength)
        mask = Image.new("L", self.size)
        mask.paste(255, (0, self.horizon, *self.size))
        return Layer(picture=ground, mask=mask)

    def boards(self, floor: Layer, colour: Colour, count: int) -> None:
        """Lines on the floor that meet far behind the horizon, and one along the wall."""
        draw = ImageDraw.Draw(floor.picture)
        centre, depth = self.size[0] / 2, self.unit * 0.9
        for board in range(-count, count + 1):
            x = centre + board * self.size[0] / count
            draw.line((centre + (x - centre) * 0.45, self.horizon, x, self.horizon + depth), colour, 1)
        draw.line((0, self.horizon, self.size[0], self.horizon), colour, max(2, self.unit // 60))

    def jitter(self, colour: Colour, amount: int = 18) -> Colour:
        """A colour near the given one."""
        red, green, blue = (max(0, min(255, part + self.dice.whole(-amount, amount))) for part in colour)
        return red, green, blue

    def soft(self, picture: Image.Image, radius: float) -> Image.Image:
        """Blurred."""
        return picture.filter(ImageFilter.GaussianBlur(radius))


def _park(brush: _Brush) -> list[Layer]:
    dice, (width, height), unit = brush.dice, brush.size, brush.unit
    sky = dice.pick(
        (((104, 170, 228), (206, 230, 244)), ((240, 158, 106), (252, 222, 172)), ((128, 158, 190), (204, 214, 220)))
    )
    clouds = brush.noise(brush.size, 0.7 * unit, 4, flat=2.4)
    clouds = clouds.point([max(0, min(225, int((value - 112) * 2.6))) for value in range(256)])
    clouds.paste(0, (0, brush.horizon, width, height))
    hills = Image.new("L", brush.size)
    draw = ImageDraw.Draw(hills)
    for _ in range(9):
        x, r = dice.between(0, width), dice.between(0.25, 0.6) * unit
        draw.ellipse((x - 1.6 * r, brush.horizon - 0.5 * r, x + 1.6 * r, brush.horizon + r), 255)
    for _ in range(dice.whole(4, 9)):
        x, r = dice.between(0, width), dice.between(0.06, 0.13) * unit
        draw.ellipse((x - r, brush.horizon - 3.2 * r, x + r, brush.horizon - 1.0 * r), 255)
        draw.rectangle((x - 0.14 * r, brush.horizon - 1.4 * r, x + 0.14 * r, brush.horizon), 255)
    green = brush.jitter((96, 146, 92))
    hill_paint = brush.textured(brush.gradient(green, brush.jitter((66, 112, 72))), 0.08 * unit, 0.35)
    return [
        Layer(picture=brush.gradient(*sky)),
        Layer(
            picture=Image.new("RGB", brush.size, (250, 250, 250)),
            mask=clouds,
            drift_per_s=dice.between(0.02, 0.06) * unit,
        ),
        Layer(picture=hill_paint, mask=hills),
        brush.floor(brush.jitter((104, 158, 82)), brush.jitter((140, 182, 104)), 0.05 * unit, 0.35),
    ]


def _gym(brush: _Brush) -> list[Layer]:
    dice, (width, _), unit = brush.dice, brush.size, brush.unit
    wall = brush.textured(
        brush.gradient(brush.jitter((190, 196, 204), 25), brush.jitter((160, 168, 178), 25)), 0.3 * unit, 0.15
    )
    draw = ImageDraw.Draw(wall)
    stripe = brush.jitter((80, 120, 170), 50)
    top = brush.horizon - round(dice.between(0.16, 0.3) * unit)
    draw.rectangle((0, top, width, top + round(0.05 * unit)), stripe)
    for column in range(7):
        x = (column + 0.5) * width / 7
        draw.rectangle((x - 0.16 * unit, 0.3 * unit, x + 0.16 * unit, 0.46 * unit), brush.jitter((214, 226, 232), 10))
        draw.line((x, 0.3 * unit, x, 0.46 * unit), stripe, 1)
    floor = brush.floor(brush.jitter((196, 148, 96)), brush.jitter((170, 124, 80)), 0.12 * unit, 0.2)
    brush.boards(floor, brush.jitter((138, 98, 62)), 12)
    return [Layer(picture=wall), _sunbeams(brush), floor]


def _sunbeams(brush: _Brush) -> Layer:
    """Slanted light that wanders along the wall."""
    mask = Image.new("L", brush.size)
    draw = ImageDraw.Draw(mask)
    for _ in range(4):
        x, w = brush.dice.between(0, brush.size[0]), brush.dice.between(0.08, 0.25) * brush.unit
        slant = 0.5 * brush.unit
        draw.polygon(((x, 0), (x + w, 0), (x + w - slant, brush.size[1]), (x - slant, brush.size[1])), 90)
    mask = brush.soft(mask, 0.02 * brush.unit)
    swing = brush.dice.between(0.1, 0.25) * brush.unit, brush.dice.between(6.0, 14.0)
    return Layer(picture=Image.new("RGB", brush.size, (255, 246, 214)), mask=mask, swing=swing)


def _stage(brush: _Brush) -> list[Layer]:
    dice, (width, height), unit = brush.dice, brush.size, brush.unit
    cloth = dice.pick(((150, 40, 54), (52, 66, 124), (48, 104, 92), (104, 60, 128)))
    curtain = Image.new("RGB", brush.size)
    draw = ImageDraw.Draw(curtain)
    fold = dice.between(0.09, 0.16) * unit
    for column in range(width):
        light = 0.74 + 0.26 * sin_deg(360.0 * column / fold + 40.0 * sin_deg(360.0 * column / (5.3 * fold)))
        draw.line((column, 0, column, height), tuple(int(part * light) for part in cloth))
    spots = []
    for _ in range(2):
        mask = Image.new("L", brush.size)
        x, r = dice.between(0.2, 0.8) * width, dice.between(0.2, 0.34) * unit
        y = dice.between(0.35, 0.75) * height
        ImageDraw.Draw(mask).ellipse((x - r, y - r, x + r, y + r), 110)
        tint = dice.pick(((255, 236, 190), (255, 190, 200), (180, 220, 255), (210, 255, 210)))
        swing = dice.between(0.2, 0.6) * unit, dice.between(4.0, 11.0)
        spots.append(Layer(picture=Image.new("RGB", brush.size, tint), mask=brush.soft(mask, 0.03 * unit), swing=swing))
    floor = brush.floor(brush.jitter((104, 78, 58)), brush.jitter((70, 52, 40)), 0.15 * unit, 0.25)
    brush.boards(floor, (52, 38, 30), 9)
    return [Layer(picture=curtain), floor, *spots]


def _beach(brush: _Brush) -> list[Layer]:
    dice, (width, height), unit = brush.dice, brush.size, brush.unit
    sky = brush.gradient(*dice.pick((((96, 176, 226), (226, 240, 246)), ((238, 140, 120), (254, 226, 178)))))
    draw = ImageDraw.Draw(sky)
    x, r = dice.between(0.2, 0.8) * width, 0.07 * unit
    draw.ellipse((x - r, 0.35 * unit - r, x + r, 0.35 * unit + r), (255, 248, 222))
    layers = [Layer(picture=sky)]
    for row in range(3):
        top = brush.horizon - round((0.2 - 0.065 * row) * unit)
        mask = Image.new("L", brush.size)
        wave = width / dice.whole(4, 9)
        crest = [(step, top + 0.018 * unit * sin_deg(360.0 * step / wave)) for step in range(0, width + 1, 2)]
        ImageDraw.Draw(mask).polygon([*crest, (width, height), (0, height)], 255)
        colour = brush.jitter((44 + 22 * row, 116 + 24 * row, 158 + 18 * row), 8)
        paint = brush.textured(Image.new("RGB", brush.size, colour), 0.07 * unit, 0.18)
        layers.append(Layer(picture=paint, mask=mask, drift_per_s=dice.between(-0.12, 0.12) * unit))
    sand = brush.floor(brush.jitter((226, 200, 148)), brush.jitter((206, 176, 126)), 0.03 * unit, 0.22)
    return [*layers, sand]


def _street(brush: _Brush) -> list[Layer]:
    dice, (width, _), unit = brush.dice, brush.size, brush.unit
    night = dice.chance(0.4)
    sky = brush.gradient((26, 30, 66), (92, 74, 116)) if night else brush.gradient((150, 186, 214), (226, 226, 216))
    clouds = brush.noise(brush.size, 0.6 * unit, 4, flat=2.4)
    clouds = clouds.point([max(0, min(150, int((value - 112) * 2.2))) for value in range(256)])
    houses, mask = Image.new("RGB", brush.size), Image.new("L", brush.size)
    draw, cut = ImageDraw.Draw(houses), ImageDraw.Draw(mask)
    x = -0.05 * unit
    while x < width:
        w, h = dice.between(0.2, 0.36) * unit, dice.between(0.3, 0.62) * unit
        wall = brush.jitter(dice.pick(((172, 110, 90), (150, 146, 140), (190, 164, 126), (116, 124, 142))), 16)
        wall = wall if not night else (wall[0] // 3, wall[1] // 3, wall[2] // 2)
        draw.rectangle((x, brush.horizon - h, x + w - 2, brush.horizon), wall)
        cut.rectangle((x, brush.horizon - h, x + w - 2, brush.horizon), 255)
        for row in range(int(h / (0.12 * unit))):
            for column in range(3):
                lit = dice.chance(0.4)
                pane = (
                    ((246, 214, 130) if lit else (40, 44, 60))
                    if night
                    else ((196, 214, 226) if lit else (96, 108, 124))
                )
                left, up = x + (0.16 + 0.26 * column) * w, brush.horizon - h + (0.04 + 0.12 * row) * unit
                draw.rectangle((left, up, left + 0.15 * w, up + 0.06 * unit), pane)
        x += w
    houses = brush.textured(houses, 0.05 * unit, 0.12)
    asphalt = (70, 72, 82) if night else (128, 128, 132)
    floor = brush.floor(brush.jitter(asphalt, 8), brush.jitter(asphalt, 8), 0.025 * unit, 0.2)
    veil = Image.new("RGB", brush.size, (120, 110, 140) if night else (246, 246, 246))
    return [
        Layer(picture=sky),
        Layer(picture=veil, mask=clouds, drift_per_s=dice.between(0.03, 0.08) * unit),
        Layer(picture=houses, mask=mask),
        floor,
    ]


def _studio(brush: _Brush) -> list[Layer]:
    dice, (width, height), unit = brush.dice, brush.size, brush.unit
    tone = dice.pick(((88, 112, 160), (160, 104, 120), (98, 148, 132), (168, 148, 104), (120, 110, 158)))
    light, dark = tuple(min(255, part + 60) for part in tone), tuple(part // 2 + 20 for part in tone)
    wall = brush.textured(brush.gradient(brush.jitter(tone), light), 0.5 * unit, 0.25)  # type: ignore[arg-type]
    layers = [Layer(picture=wall)]
    for _ in range(2):
        mask = Image.new("L", brush.size)
        draw = ImageDraw.Draw(mask)
        for _ in range(6):
            x, y, r = dice.between(0, width), dice.between(0, height), dice.between(0.05, 0.17) * unit
            for around in (-width, 0, width):
                draw.ellipse((x + around - r, y - r, x + around + r, y + r), 70)
        paint = Image.new("RGB", brush.size, dice.pick(((255, 255, 255), light, dark)))
        layers.append(
            Layer(picture=paint, mask=brush.soft(mask, 0.01 * unit), drift_per_s=dice.between(-0.1, 0.1) * unit)
        )
    floor = brush.floor(light, dark, 0.2 * unit, 0.15)  # type: ignore[arg-type]
    return [*layers, floor]


_PAINTERS: dict[str, Callable[[_Brush], list[Layer]]] = {
    "park": _park,
    "gym": _gym,
    "stage": _stage,
    "beach": _beach,
    "street": _street,
    "studio": _studio,
}
