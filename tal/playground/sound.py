"""The sound of a video: claps, steps and the like at their times, over the hum of the place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tal.playground.annotate import sound_events
from tal.playground.script import Script

RATE = 16_000

Floats = NDArray[np.float32]


def soundtrack(script: Script) -> Floats:
    """(samples,) float32 in [-1, 1], `RATE` per second, as long as the video."""
    count = round(script.settings.frame_count / script.settings.fps * RATE)
    chance = np.random.default_rng(int(script.dice.child("sound").between(0, 2**31)))
    track = _hum(count, chance)
    voices = {"clap": _clap, "thud": _thud, "step": _step, "whoosh": _whoosh}
    for time_ms, name in sound_events(script):
        burst = voices[name](chance)
        onset = round(time_ms * RATE / 1000.0)
        if name == "whoosh":
            onset -= len(burst) // 2  # loudest in the middle
        first, last = max(0, onset), min(count, onset + len(burst))
        if first < last:
            track[first:last] += burst[first - onset : last - onset]
    return track.clip(-1.0, 1.0)


def _hum(count: int, chance: np.random.Generator) -> Floats:
    """Soft low noise that comes and goes."""
    noise = chance.standard_normal(count // 16 + 2).astype(np.float32)
    smooth = np.convolve(noise, np.ones(8, np.float32) / 8, mode="same")
    hum = np.interp(np.arange(count) / 16, np.arange(len(smooth)), smooth)
    swell = 0.7 + 0.3 * np.sin(np.arange(count) * (2 * np.pi / (7.3 * RATE)) + chance.uniform(0, 6))
    return (0.012 * hum * swell).astype(np.float32)


def _decay(count: int, seconds: float) -> Floats:
    return np.exp(-np.arange(count) / (seconds * RATE)).astype(np.float32)


def _clap(chance: np.random.Generator) -> Floats:
    count = int(0.09 * RATE)
    noise = chance.standard_normal(count).astype(np.float32)
    bright = noise - np.convolve(noise, np.ones(6, np.float32) / 6, mode="same")
    return 0.33 * bright * _decay(count, 0.014)


def _thud(chance: np.random.Generator) -> Floats:
    count = int(0.25 * RATE)
    pitch = chance.uniform(60, 85)
    tone = np.sin(2 * np.pi * pitch * np.arange(count) / RATE).astype(np.float32)
    return 0.55 * tone * _decay(count, 0.05) + 0.4 * _step(chance, count)


def _step(chance: np.random.Generator, count: int = int(0.12 * RATE)) -> Floats:
    noise = np.convolve(chance.standard_normal(count).astype(np.float32), np.ones(12, np.float32) / 12, mode="same")
    return 0.6 * noise * _decay(count, 0.02)


def _whoosh(chance: np.random.Generator) -> Floats:
    count = int(0.28 * RATE)
    noise = np.convolve(chance.standard_normal(count).astype(np.float32), np.ones(4, np.float32) / 4, mode="same")
    return 0.22 * noise * np.hanning(count).astype(np.float32) ** 2
