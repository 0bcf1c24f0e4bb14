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


def _floats(samples: NDArray[np.floating]) -> Floats:
    return samples.astype(np.float32)


def _noise(chance: np.random.Generator, count: int, dull: int = 1) -> Floats:
    """White noise, averaged over `dull` neighbours."""
    white = _floats(chance.standard_normal(count))
    return white if dull == 1 else _floats(np.convolve(white, np.full(dull, 1 / dull), mode="same"))


def _hum(count: int, chance: np.random.Generator) -> Floats:
    """Soft low noise that comes and goes."""
    smooth = _noise(chance, count // 16 + 2, dull=8)
    hum = np.interp(np.arange(count) / 16, np.arange(len(smooth)), smooth)
    swell = 0.7 + 0.3 * np.sin(np.arange(count) * (2 * np.pi / (7.3 * RATE)) + chance.uniform(0, 6))
    return _floats(0.012 * hum * swell)


def _decay(count: int, seconds: float) -> Floats:
    return _floats(np.exp(-np.arange(count) / (seconds * RATE)))


def _clap(chance: np.random.Generator) -> Floats:
    count = int(0.09 * RATE)
    noise = _noise(chance, count)
    bright = noise - np.convolve(noise, np.full(6, 1 / 6), mode="same")
    return _floats(0.33 * bright * _decay(count, 0.014))


def _thud(chance: np.random.Generator) -> Floats:
    count = int(0.25 * RATE)
    pitch = chance.uniform(60, 85)
    tone = np.sin(2 * np.pi * pitch * np.arange(count) / RATE)
    return _floats(0.55 * tone * _decay(count, 0.05) + 0.4 * _step(chance, count))


def _step(chance: np.random.Generator, count: int = int(0.12 * RATE)) -> Floats:
    noise = _noise(chance, count, dull=12)
    return _floats(0.6 * noise * _decay(count, 0.02))


def _whoosh(chance: np.random.Generator) -> Floats:
    count = int(0.28 * RATE)
    noise = _noise(chance, count, dull=4)
    return _floats(0.22 * noise * np.hanning(count) ** 2)
