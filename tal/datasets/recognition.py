"""Recognition of whole videos: Kinetics, Something-Something, Diving48, UCF101, Charades, and one's own."""

from tal.datasets.kinds.recognition import MultilabelProtocol, RecognitionProtocol
from tal.datasets.protocol import Variant

PROTOCOL = RecognitionProtocol(
    name="recognition",
    title="Recognition, one class per video",
    source="top-k accuracy as everyone has it; open-mmlab/mmaction2, mmaction/evaluation/functional/accuracy.py",
    variants={
        "mmaction2": Variant(
            settings={"absent": "predicted"},
            source="open-mmlab/mmaction2, mmaction/evaluation/functional/accuracy.py, mean_class_accuracy",
            about="classes that are predicted and have no videos lower the mean class accuracy",
        ),
    },
)

MULTILABEL = MultilabelProtocol(
    name="recognition-multilabel",
    title="Recognition, several classes per video",
    source="open-mmlab/mmaction2, mmaction/evaluation/functional/accuracy.py, mean_average_precision",
    variants={
        "charades": Variant(
            settings={"ties": "order", "unlabelled": "last"},
            source="Charades_v1_classify.m of the data set; gsig/charades-algorithms, pytorch/utils/map.py",
            about="equal scores in order, videos without any label ranked last",
        ),
        "slowfast": Variant(
            settings={"views": "max"},
            source="facebookresearch/SlowFast, slowfast/utils/meters.py, get_map; configs/Charades",
            about="the maximum over a video's clips and crops",
        ),
        "scikit-learn": Variant(
            settings={"absent": "zero"},
            source="scikit-learn, average_precision_score with average='macro'",
            about="classes without videos have an AP of 0",
        ),
    },
)
