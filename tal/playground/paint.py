"""Figures as pixels: rounded limbs with an outline and shading, smoothed by drawing them several times larger."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from tal.playground.figure import Body, Limb

Colour = tuple[int, int, int]

SCALE = 4  # the drawing is this many times larger than the picture
OUTLINE = 0.006  # body heights

COLOURS: dict[str, Colour] = {
    "red": (206, 52, 56), "orange": (236, 129, 43), "yellow": (240, 200, 60), "green": (70, 153, 82),
    "teal": (38, 150, 155), "blue": (56, 104, 200), "purple": (128, 78, 170), "pink": (233, 128, 165),
    "white": (238, 238, 232), "black": (48, 48, 54),
    "navy": (38, 52, 92), "grey": (118, 122, 130), "brown": (104, 72, 50), "charcoal": (64, 66, 74),
    "olive": (98, 104, 62), "beige": (202, 184, 150),
    "porcelain": (246, 218, 200), "peach": (240, 194, 164), "honey": (220, 168, 124), "almond": (190, 134, 96),
    "chestnut": (146, 96, 66), "umber": (98, 64, 46),
    "dark brown": (70, 46, 34), "auburn": (132, 62, 38), "blond": (222, 184, 108), "silver": (190, 192, 198),
    "ginger": (196, 100, 46),
}  # fmt: skip

_EYE: Colour = (40, 32, 34)


def draw_figure(
    picture: Image.Image, strokes: Sequence[Limb], body: Body, *, foot_x: float, foot_y: float, height: float
) -> None:
    """Draw a figure onto a picture.

    Args:
        picture: RGB.
        strokes: From `figure.limbs`.
        body: Its looks.
        foot_x, foot_y: Pixels of the figure's origin on the ground.
        height: Pixels of one body height.
    """
    edge = OUTLINE * height + 1.0
    left, top, right, bottom = pixel_box(strokes, foot_x=foot_x, foot_y=foot_y, height=height)
    x0, y0 = max(int(left - edge), 0), max(int(top - edge), 0)
    x1, y1 = min(int(right + edge) + 1, picture.width), min(int(bottom + edge) + 1, picture.height)
    if x0 >= x1 or y0 >= y1:
        return
    large = Image.new("RGBA", ((x1 - x0) * SCALE, (y1 - y0) * SCALE))
    pen = _Pen(ImageDraw.Draw(large), (foot_x - x0) * SCALE, (foot_y - y0) * SCALE, height * SCALE, body)
    pen.figure(strokes)
    small = large.reduce(SCALE)
    picture.paste(small, (x0, y0), small)


def pixel_box(
    strokes: Sequence[Limb], *, foot_x: float, foot_y: float, height: float
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of all strokes with their outline, pixels."""
    left = min(min(each.x0 - each.radius0, each.x1 - each.radius1) for each in strokes) - OUTLINE
    right = max(max(each.x0 + each.radius0, each.x1 + each.radius1) for each in strokes) + OUTLINE
    low = min(min(each.y0 - each.radius0, each.y1 - each.radius1) for each in strokes) - OUTLINE
    high = max(max(each.y0 + each.radius0, each.y1 + each.radius1) for each in strokes) + OUTLINE
    return foot_x + left * height, foot_y - high * height, foot_x + right * height, foot_y - low * height


class _Pen:
    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, height: float, body: Body) -> None:
        self.draw, self.x, self.y, self.height, self.body = draw, x, y, height, body
        self.edge = OUTLINE * height

    def figure(self, strokes: Sequence[Limb]) -> None:
        torso = [each for each in strokes if each.role == "torso"]
        middle = sum(each.depth for each in torso) / len(torso)
        drawn = False
        for stroke in strokes:
            if stroke.role == "torso":
                if not drawn:
                    self.torso(torso)
                    drawn = True
            elif stroke.role == "head":
                self.head(stroke)
            else:
                self.limb(stroke, shade=min(1.06, max(0.74, 0.98 + 0.9 * (stroke.depth - middle))))

    def colour(self, role: str) -> Colour:
        body = self.body
        bare = {
            "forearm": not body.long_sleeves, "shin": body.shorts, "hand": True, "neck": True,
        }  # fmt: skip
        if bare.get(role):
            return COLOURS[body.skin]
        names = {"upper_arm": body.shirt, "forearm": body.shirt, "torso": body.shirt, "foot": body.shoes}
        return COLOURS[names.get(role, body.trousers)]

    def limb(self, stroke: Limb, shade: float) -> None:
        colour = _shaded(self.colour(stroke.role), shade)
        ends = (stroke.x0, stroke.y0, stroke.radius0), (stroke.x1, stroke.y1, stroke.radius1)
        self.capsule(*ends, _shaded(colour, 0.55), grow=self.edge)
        self.capsule(*ends, colour)

    def capsule(
        self, start: tuple[float, float, float], end: tuple[float, float, float], colour: Colour, grow: float = 0.0
    ) -> None:
        """A stroke with round ends of two radii, in body heights; `grow` in pixels."""
        (xa, ya, ra), (xb, yb, rb) = (self.point(*start), self.point(*end))
        ra, rb = ra + grow, rb + grow
        self.draw.ellipse((xa - ra, ya - ra, xa + ra, ya + ra), colour)
        length = ((xb - xa) ** 2 + (yb - ya) ** 2) ** 0.5
        if length < 0.5:
            return
        self.draw.ellipse((xb - rb, yb - rb, xb + rb, yb + rb), colour)
        nx, ny = (ya - yb) / length, (xb - xa) / length
        near = (xa + nx * ra, ya + ny * ra), (xb + nx * rb, yb + ny * rb)
        far = (xb - nx * rb, yb - ny * rb), (xa - nx * ra, ya - ny * ra)
        self.draw.polygon((*near, *far), colour)

    def point(self, x: float, y: float, radius: float) -> tuple[float, float, float]:
        return self.x + x * self.height, self.y - y * self.height, radius * self.height

    def torso(self, sides: Sequence[Limb]) -> None:
        """Trunk and hips: two strokes and what lies between, first the outline, then the shirt, then the waistband."""
        shirt, trousers = self.colour("torso"), self.colour("thigh")
        for colour, grow in ((_shaded(shirt, 0.55), self.edge), (shirt, 0.0)):
            first, second = sides
            pairs = (
                ((first.x0, first.y0, first.radius0), (first.x1, first.y1, first.radius1)),
                ((second.x0, second.y0, second.radius0), (second.x1, second.y1, second.radius1)),
                ((first.x0, first.y0, first.radius0), (second.x0, second.y0, second.radius0)),
                ((first.x1, first.y1, first.radius1), (second.x1, second.y1, second.radius1)),
                ((first.x0, first.y0, first.radius0), (second.x1, second.y1, second.radius1)),
            )
            for start, end in pairs:
                self.capsule(start, end, colour, grow)
            corners = [self.point(x, y, 0)[:2] for side, flip in ((first, 1), (second, -1))
                       for x, y in ((side.x0, side.y0), (side.x1, side.y1))[::flip]]  # fmt: skip
            self.draw.polygon(corners, colour)
        hips = [(each.x1, each.y1, 0.9 * each.radius1) for each in sides]
        self.capsule(hips[0], hips[1], trousers)

    def head(self, head: Limb) -> None:
        """A face with hair around it; what of both is seen depends on where the head looks."""
        body = self.body
        skin, hair = COLOURS[body.skin], COLOURS[body.hair]
        radius = head.radius0
        x, y, side = head.x0, head.y0, head.x1 - head.x0  # side: towards where it looks
        outline = _shaded(skin if body.hair_style == "bald" else hair, 0.5)
        self.capsule((x, y, radius * 0.97), (x, y, radius * 0.97), outline, grow=self.edge)
        if body.hair_style == "bald":
            self.capsule((x, y, radius * 0.97), (x, y, radius * 0.97), skin)
        else:
            self.capsule((x, y, radius * 0.97), (x, y, radius * 0.97), hair)
            if body.hair_style == "bun":
                knot = (x - 0.7 * side, y + 0.62 * radius, 0.36 * radius)
                self.capsule(knot, knot, hair)
            if body.hair_style == "long":
                self.capsule((x - 0.5 * side, y, 0.8 * radius), (x - 0.7 * side, y - 0.45 * radius, 0.5 * radius), hair)
            if head.facing > -0.35:
                face = (x + 0.62 * side, y - 0.2 * radius, 0.74 * radius)
                self.capsule(face, face, skin)
        if head.facing > 0.0:
            for offset in (-0.3, 0.3):
                eye_x = x + 1.0 * side + offset * radius * head.facing
                eye = (eye_x, y - 0.05 * radius, 0.11 * radius)
                self.capsule(eye, eye, _EYE)


def _shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(part * factor)) for part in colour)
    return red, green, blue
