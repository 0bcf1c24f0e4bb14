"""E2TAD's task, the UAV video track of LPCVC 2021: who catches which ball when, in video from a drone."""

from tal.datasets.kinds.who_when import WhoWhenProtocol

PROTOCOL = WhoWhenProtocol(
    name="e2tad",
    title="LPCVC 2021 UAV video: who holds which ball",
    source="lpcvai/2021-LPCVC-Referee, lpcvc/LPCVC2021/scoring",
)
