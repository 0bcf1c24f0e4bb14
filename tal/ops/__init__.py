"""Segment operations: NMS, local attention, assignment."""
