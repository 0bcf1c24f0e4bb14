"""Segmentation of acting objects: ActionVOS on VISOR."""

from tal.datasets.kinds.masks import MasksProtocol

PROTOCOL = MasksProtocol(
    name="segmentation",
    title="Segmentation of acting objects, ActionVOS",
    source="ut-vision/ActionVOS, actionvos_metrics.py",
)
