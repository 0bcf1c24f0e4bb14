"""Sound of videos: samples at a model's rate, and log-mel spectrograms, in the video's time."""

from tal.audio.decode import audio_chunks, read_audio
from tal.audio.logmel import LogMel, LogMelStream, log_mel

__all__ = ["LogMel", "LogMelStream", "audio_chunks", "log_mel", "read_audio"]
