"""Annotation files of every format into one record type, and results into files."""

from tal.annotations.reading import FORMATS, read_annotations
from tal.annotations.records import Annotations, Moment, VideoRecord

__all__ = ["FORMATS", "Annotations", "Moment", "VideoRecord", "read_annotations"]
