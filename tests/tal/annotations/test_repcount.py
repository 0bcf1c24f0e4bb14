"""RepCount's CSV, faults included."""

from pathlib import Path

import pytest

from tal.annotations import repcount
from tal.errors import AnnotationError

CASES = Path(__file__).parents[3] / "../shared/cases/counting"
HEADER = ",type,name,count,L1,L2,L3,L4\n"


def test_rows_with_names_as_the_files_write_them():
    text = HEADER + "0,pullups,stu1_1.mp4,2,3,10,11,20\n1,squant,stu1_2.mp4,1,5.0,9.0,,\n2,others,stu1_3.mp4,,,,,\n"
    found = repcount.parse(text.encode(), "f")
    assert [(each.video, each.action, each.count, each.cycles) for each in found.values()] == [
        ("stu1_1", "pull_up", 2, ((3, 10), (11, 20))),
        ("stu1_2", "squat", 1, ((5, 9),)),
        ("stu1_3", "others", None, ()),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEADER + "0,squat,a.mp4,2,3,10,11,\n", "3 boundaries"),
        (HEADER + "0,squat,a.mp4,2,3,10,,\n1,squat,a.mp4,2,3,10,,\n", "stands twice"),
        (HEADER + "0,squat,a.mp4,two,3,10,,\n", "'two' is no number"),
        ("video,count\na,3\n", "not RepCount's CSV"),
        ('{"a": 3}', "not RepCount's CSV"),
    ],
)
def test_damaged_files_are_refused(content, told):
    with pytest.raises(AnnotationError, match=told):
        repcount.parse(content.encode(), "f")


@pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")
def test_published_files():
    sizes = {"repcount_test": 152, "repcount_valid": 131, "repcount_video_train": 758}
    for name, size in sizes.items():
        found = repcount.parse((CASES / f"{name}.csv").read_bytes(), name)
        assert len(found) == size
        differ = [each.video for each in found.values() if each.count != len(each.cycles)]
        assert differ == (["test118", "stu6_44"] if name.endswith("train") else [])
        assert not {each.action for each in found.values()} - {
            "bench_pressing", "front_raise", "push_up", "pull_up", "sit_up", "squat", "jump_jack", "pommel_horse",
            "battle_rope", "others", "",
        }  # fmt: skip
