"""The articulated figure: joint angles to limbs on the picture, in arithmetic that is exact on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tal.playground.exact import Dice, cos_deg, sin_deg

# Lengths are fractions of the body's height.
_TORSO, _THIGH, _SHIN, _FOOT = 0.29, 0.245, 0.235, 0.065
_UPPER_ARM, _FOREARM, _HEAD_ABOVE_NECK = 0.165, 0.15, 0.105
_SIT_HEIGHT = 0.075
_VIEW_FROM_ABOVE = 0.10  # what is nearer by 1 is shown lower by this


class Pose(NamedTuple):
    """Joint angles in degrees; the defaults are the figure standing at rest, seen from the front.

    Flexion swings a limb forward, `out` sideways away from the body. A forearm's or shin's angle is that of its upper
    limb plus the elbow's (minus the knee's). `lift` is the height above the ground in body heights, `plant` the foot
    that stays where it is: 0 left, 1 right, 0.5 both; `twist` turns the shoulders against the hips.
    """

    yaw: float = 0.0
    lean: float = 0.0
    tilt: float = 0.0
    twist: float = 0.0
    nod: float = 0.0
    lift: float = 0.0
    plant: float = 0.5
    left_arm_flex: float = 4.0
    left_arm_out: float = 9.0
    left_elbow: float = 14.0
    left_elbow_out: float = -3.0
    right_arm_flex: float = 4.0
    right_arm_out: float = 9.0
    right_elbow: float = 14.0
    right_elbow_out: float = -3.0
    left_leg_flex: float = 0.0
    left_leg_out: float = 4.0
    left_knee: float = 3.0
    right_leg_flex: float = 0.0
    right_leg_out: float = 4.0
    right_knee: float = 3.0

    def blended(self, other: Pose, share: float) -> Pose:
        """This pose with the given share of the other."""
        if share <= 0.0:
            return self
        return other if share >= 1.0 else Pose(*[a + (b - a) * share for a, b in zip(self, other, strict=True)])

    def mirrored(self) -> Pose:
        """Left and right exchanged."""
        return Pose(
            -self.yaw,
            self.lean,
            -self.tilt,
            -self.twist,
            self.nod,
            self.lift,
            1.0 - self.plant,
            *self[11:15],
            *self[7:11],
            *self[18:21],
            *self[15:18],
        )


REST = Pose()


@dataclass(frozen=True, kw_only=True)
class Body:
    """Proportions and looks of one figure; factors of the usual lengths, names of colours in `paint`.

    Args:
        height: In picture heights, standing.
        legs, arms, shoulders, girth, head: Factors.
        shirt, trousers, shoes, skin, hair: Colour names.
        hair_style: "short", "long", "bun" or "bald".
        sleeves: Share of the arm that the sleeves cover: 0.5 or 1.
        shorts: Bare shins.
    """

    height: float
    legs: float
    arms: float
    shoulders: float
    girth: float
    head: float
    shirt: str
    trousers: str
    shoes: str
    skin: str
    hair: str
    hair_style: str
    long_sleeves: bool
    shorts: bool


SHIRTS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")
TROUSERS = ("navy", "grey", "brown", "charcoal", "olive", "beige")
SHOES = ("white", "black", "brown", "red")
SKINS = ("porcelain", "peach", "honey", "almond", "chestnut", "umber")
HAIRS = ("black", "dark brown", "auburn", "blond", "silver", "ginger")
HAIR_STYLES = ("short", "short", "long", "bun", "bald")


def random_body(dice: Dice, *, height: float, shirt: str) -> Body:
    """A body of the given height and shirt; the rest by chance."""
    return Body(
        height=height,
        legs=dice.between(0.93, 1.07),
        arms=dice.between(0.94, 1.08),
        shoulders=dice.between(0.85, 1.2),
        girth=dice.between(0.85, 1.25),
        head=dice.between(0.95, 1.2),
        shirt=shirt,
        trousers=dice.pick(TROUSERS),
        shoes=dice.pick(SHOES),
        skin=dice.pick(SKINS),
        hair=dice.pick(HAIRS),
        hair_style=dice.pick(HAIR_STYLES),
        long_sleeves=dice.chance(0.5),
        shorts=dice.chance(0.35),
    )


class Limb(NamedTuple):
    """A tapered rounded stroke: x to the right, y upwards from the ground, radii; all in body heights.

    `depth` grows towards the viewer; `facing` (-1 to 1) is how much the head looks at the viewer, 0 for other limbs.
    """

    role: str
    x0: float
    y0: float
    x1: float
    y1: float
    radius0: float
    radius1: float
    depth: float
    facing: float = 0.0


Point = tuple[float, float, float]


def _along(start: Point, length: float, flex: float, out: float) -> Point:
    """The end of a limb that hangs down at rest; `out` is signed: positive towards the figure's +x side."""
    across, down = sin_deg(out), cos_deg(out)
    x, y, z = start
    return x + length * across, y - length * down * cos_deg(flex), z + length * down * sin_deg(flex)


def limbs(pose: Pose, body: Body) -> list[Limb]:
    """The figure's strokes, from the farthest to the nearest.

    The planted foot stays at x 0 on the ground (y 0), and the lowest foot touches it unless the pose is lifted.
    """
    joints = _joints(pose, body)
    turn_sin, turn_cos = sin_deg(pose.yaw), cos_deg(pose.yaw)
    seen: dict[str, Point] = {}
    for name, (x, y, z) in joints.items():
        depth = z * turn_cos - x * turn_sin
        seen[name] = x * turn_cos + z * turn_sin, y - _VIEW_FROM_ABOVE * depth, depth
    girth = body.girth
    strokes = [
        _stroke("torso", seen["left_shoulder"], seen["left_hip"], 0.043 * girth, 0.048 * girth),
        _stroke("torso", seen["right_shoulder"], seen["right_hip"], 0.043 * girth, 0.048 * girth),
        _stroke("neck", seen["neck"], seen["head"], 0.026, 0.026),
    ]
    for side in ("left", "right"):
        shoulder, elbow, hand = seen[f"{side}_shoulder"], seen[f"{side}_elbow"], seen[f"{side}_hand"]
        hip, knee, ankle, toe = (seen[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "toe"))
        strokes += [
            _stroke("upper_arm", shoulder, elbow, 0.036 * girth, 0.030 * girth, nearer=0.01),
            _stroke("forearm", elbow, hand, 0.029 * girth, 0.021 * girth, nearer=0.02),
            _stroke("hand", hand, hand, 0.028, 0.028, nearer=0.025),
            _stroke("thigh", hip, knee, 0.052 * girth, 0.040 * girth),
            _stroke("shin", knee, ankle, 0.038 * girth, 0.027 * girth),
            _stroke("foot", ankle, toe, 0.029, 0.024, nearer=0.01),
        ]
    radius = 0.078 * body.head
    x, y, depth = seen["head"]
    strokes.append(Limb("head", x, y, x + 0.5 * radius * turn_sin, y, radius, radius, depth + 0.03, turn_cos))
    strokes.sort(key=lambda each: each.depth)
    return strokes


def _stroke(role: str, start: Point, end: Point, radius0: float, radius1: float, nearer: float = 0.0) -> Limb:
    return Limb(role, start[0], start[1], end[0], end[1], radius0, radius1, (start[2] + end[2]) / 2 + nearer)


def _joints(pose: Pose, body: Body) -> dict[str, Point]:
    """Joints in the figure's own axes: x to its side, y up from the ground, z ahead."""
    hip_x, shoulder_x = 0.058 * body.girth, 0.098 * body.shoulders
    joints: dict[str, Point] = {}
    sides = (
        ("left", 1.0, pose.left_leg_flex, pose.left_leg_out, pose.left_knee),
        ("right", -1.0, pose.right_leg_flex, pose.right_leg_out, pose.right_knee),
    )
    for side, sign, flex, out, knee in sides:
        hip = (sign * hip_x, 0.0, 0.0)
        joints[f"{side}_hip"] = hip
        joints[f"{side}_knee"] = bend = _along(hip, _THIGH * body.legs, flex, sign * out)
        joints[f"{side}_ankle"] = ankle = _along(bend, _SHIN * body.legs, flex - knee, sign * out)
        joints[f"{side}_toe"] = (ankle[0] + sign * 0.012, ankle[1] - 0.004, ankle[2] + _FOOT)
    tilt_cos = cos_deg(pose.tilt)
    neck = (_TORSO * sin_deg(pose.tilt), _TORSO * tilt_cos * cos_deg(pose.lean), _TORSO * tilt_cos * sin_deg(pose.lean))
    joints["neck"] = neck
    nod = pose.lean * 0.8 + pose.nod
    rise = _HEAD_ABOVE_NECK * body.head
    joints["head"] = (
        neck[0] + rise * sin_deg(pose.tilt), neck[1] + rise * cos_deg(nod), neck[2] + rise * sin_deg(nod)
    )  # fmt: skip
    across, ahead = shoulder_x * cos_deg(pose.twist), shoulder_x * sin_deg(pose.twist)
    arms = (
        ("left", 1.0, pose.left_arm_flex, pose.left_arm_out, pose.left_elbow, pose.left_elbow_out),
        ("right", -1.0, pose.right_arm_flex, pose.right_arm_out, pose.right_elbow, pose.right_elbow_out),
    )
    for side, sign, flex, out, elbow, elbow_out in arms:
        shoulder = (neck[0] + sign * across, neck[1] - 0.02, neck[2] - sign * ahead)
        joints[f"{side}_shoulder"] = shoulder
        joints[f"{side}_elbow"] = bend = _along(shoulder, _UPPER_ARM * body.arms, flex, sign * out)
        joints[f"{side}_hand"] = _along(bend, _FOREARM * body.arms, flex + elbow, sign * (out + elbow_out))
    return _on_the_ground(joints, pose)


def _on_the_ground(joints: dict[str, Point], pose: Pose) -> dict[str, Point]:
    left, right = joints["left_ankle"], joints["right_ankle"]
    share = pose.plant
    x, z = (left[axis] * (1.0 - share) + right[axis] * share for axis in (0, 2))
    up = max(-min(left[1], right[1]) + 0.03, _SIT_HEIGHT) + pose.lift
    return {name: (point[0] - x, point[1] + up, point[2] - z) for name, point in joints.items()}
