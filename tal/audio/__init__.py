"""Sound of videos: samples at a model's rate, and log-mel spectrograms, in the video's time. torch is not imported."""

from tal.audio.decode import audio_chunks, read_audio
from tal.audio.logmel import LogMel, LogMelStream, log_mel
from tal.audio.sound import Sound, probe_sound

__all__ = ["LogMel", "LogMelStream", "Sound", "audio_chunks", "log_mel", "probe_sound", "read_audio"]
