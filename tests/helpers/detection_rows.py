"""Rows of the detection metrics from tuples.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from detection_rows import rows_of
"""

import numpy as np

from tal.metrics.detection import Rows


def rows_of(table, scored):
    """(video, label, start, end) each, with `scored` and the score behind; what stands further is not looked at."""
    columns = list(zip(*table, strict=True)) or [()] * 5
    return Rows(
        video_idx=np.array(columns[0], np.int64),
        label=np.array(columns[1], np.int64),
        start_s=np.array(columns[2], np.float64),
        end_s=np.array(columns[3], np.float64),
        score=np.array(columns[4], np.float64) if scored else None,
    )
