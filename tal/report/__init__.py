"""One html page to look at: the video beside its timeline, and for a dataset where it goes right and wrong."""
