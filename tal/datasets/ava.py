"""AVA and AVA-Kinetics: people's boxes on keyframes of films and of Kinetics clips, 60 evaluated actions.

Without a label map the 60 classes of the ActivityNet challenges are evaluated, those with at least 25 instances in
validation and test.
"""

from tal.datasets.kinds.boxes import FrameBoxProtocol
from tal.datasets.protocol import Variant

CLASSES = (
    (1, "bend/bow (at the waist)"),
    (3, "crouch/kneel"),
    (4, "dance"),
    (5, "fall down"),
    (6, "get up"),
    (7, "jump/leap"),
    (8, "lie/sleep"),
    (9, "martial art"),
    (10, "run/jog"),
    (11, "sit"),
    (12, "stand"),
    (13, "swim"),
    (14, "walk"),
    (15, "answer phone"),
    (17, "carry/hold (an object)"),
    (20, "climb (e.g., a mountain)"),
    (22, "close (e.g., a door, a box)"),
    (24, "cut"),
    (26, "dress/put on clothing"),
    (27, "drink"),
    (28, "drive (e.g., a car, a truck)"),
    (29, "eat"),
    (30, "enter"),
    (34, "hit (an object)"),
    (36, "lift/pick up"),
    (37, "listen (e.g., to music)"),
    (38, "open (e.g., a window, a car door)"),
    (41, "play musical instrument"),
    (43, "point to (an object)"),
    (45, "pull (an object)"),
    (46, "push (an object)"),
    (47, "put down"),
    (48, "read"),
    (49, "ride (e.g., a bike, a car, a horse)"),
    (51, "sail boat"),
    (52, "shoot"),
    (54, "smoke"),
    (56, "take a photo"),
    (57, "text on/look at a cellphone"),
    (58, "throw"),
    (59, "touch (an object)"),
    (60, "turn (e.g., a screwdriver)"),
    (61, "watch (e.g., TV)"),
    (62, "work on a computer"),
    (63, "write"),
    (64, "fight/hit (a person)"),
    (65, "give/serve (an object) to (a person)"),
    (66, "grab (a person)"),
    (67, "hand clap"),
    (68, "hand shake"),
    (69, "hand wave"),
    (70, "hug (a person)"),
    (72, "kiss (a person)"),
    (73, "lift (a person)"),
    (74, "listen to (a person)"),
    (76, "push (another person)"),
    (77, "sing to (e.g., self, a person, a group)"),
    (78, "take (an object) from (a person)"),
    (79, "talk to (e.g., self, a person, a group)"),
    (80, "watch (a person)"),
)
"""(number, name), as in activitynet/ActivityNet, Evaluation/ava/ava_action_list_v2.1_for_activitynet_2018.pbtxt.txt."""

_VARIANTS = {
    "official": Variant(
        settings={},
        source="activitynet/ActivityNet, Evaluation/get_ava_performance.py",
        about="50 rows per keyframe, by the script's heap; keyframes are those that the ground truth's file names",
    ),
    "official-2019": Variant(
        settings={"keyframes": "all"},
        source="activitynet/ActivityNet, Evaluation/get_ava_performance.py as it was until April 2020 (3fee089)",
        about="50 rows per keyframe, by the script's heap; keyframes without ground truth count unless excluded",
    ),
    "slowfast": Variant(
        settings={"limit": 0, "order": "file", "keyframes": "all"},
        source="facebookresearch/SlowFast, slowfast/utils/ava_eval_helper.py",
        about="all rows; those of a keyframe take ground truth in the file's order; keyframes without any count",
    ),
    "stmixer": Variant(
        settings={"limit": 0, "order": "class", "keyframes": "all"},
        source="MCG-NJU/STMixer, alphaction/dataset/datasets/evaluation/ava",
        about="all rows, by score; keyframes without ground truth count",
    ),
    "tuber": Variant(
        settings={"limit": 0, "order": "score", "keyframes": "annotated"},
        source="jinsingsangsung/tuber (fork of amazon-science/tubelet-transformer), evaluates/evaluate_ava.py",
        about="all rows, by score; keyframes are those of the ground truth",
    ),
    "videoglue": Variant(
        settings={"limit": 0, "order": "class", "keyframes": "both"},
        source="tensorflow/models, official/projects/videoglue/evaluation",
        about="all rows, by score; keyframes without ground truth or without detections are left out on both sides",
    ),
}

PROTOCOL = FrameBoxProtocol(
    name="ava",
    title="AVA spatio-temporal action detection, frame mAP",
    limit=50,
    order="heap",
    classes=CLASSES,
    highest_class=80,
    fractions=True,
    source=_VARIANTS["official"].source,
    variants=_VARIANTS,
)

KINETICS = FrameBoxProtocol(
    name="ava-kinetics",
    title="AVA-Kinetics spatio-temporal action detection, frame mAP",
    limit=50,
    order="heap",
    classes=CLASSES,
    highest_class=80,
    fractions=True,
    source=_VARIANTS["official"].source,
    variants=_VARIANTS,
)
