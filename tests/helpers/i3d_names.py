"""Names that another port of I3D has for the weights.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from i3d_names import hassony2_name
"""


def hassony2_name(name):
    """The other port's name of a weight, written out from its source."""
    layer, *rest = name.split(".")
    places = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1"}
    places["b3b"] = "branch_3.1"
    words = [places.get(word, "batch3d" if word == "bn" else word) for word in rest]
    return ".".join([layer[0].lower() + layer[1:], *words])
