"""Hands and the objects that they use: 100DOH (pairs) and MECCANO (objects alone)."""

from tal.datasets.kinds.hand_objects import HandObjectProtocol

PROTOCOL = HandObjectProtocol(
    name="hand-objects",
    title="Hands with their objects, as on 100DOH",
    source="fuqichen1998/SequentialVotingDet, model/metric.py (get_AP_HO) and evaluate_100doh.py",
)

ACTIVE_OBJECTS = HandObjectProtocol(
    name="active-objects",
    title="Objects in use, as on MECCANO",
    match="objects",
    source="fuqichen1998/SequentialVotingDet, model/metric.py (get_AP_) and evaluate_meccano.py",
)
