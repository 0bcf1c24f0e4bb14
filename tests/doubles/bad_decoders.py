"""Decoders that misbehave at the second batch of frames, as real ones do; the fixture `bad_decoders` registers them."""

import os
import signal
import time

from tal.video.pyav import PyAVReader


class _Bad(PyAVReader):
    def __init__(self, path, **settings):
        super().__init__(path, **settings)
        self.decoder = f"{type(self).__name__.lower()} 1.0"

    def sampled(self, fps, batch_frames):
        for number, frames in enumerate(super().sampled(fps, batch_frames)):
            if number == 1 and "good" not in os.path.basename(self.info.path):
                self.misbehave()
            yield frames

    def misbehave(self):
        raise NotImplementedError


class Sleeper(_Bad):
    def misbehave(self):
        time.sleep(3600)


class Crasher(_Bad):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hoarder(_Bad):
    def misbehave(self):
        self.hoard = []
        while True:
            self.hoard.append(bytearray(b"x" * (1 << 24)))
            time.sleep(0.01)


class Thrower(_Bad):
    def misbehave(self):
        raise ZeroDivisionError("no such thing\nas a frame")


class Deaf(_Bad):
    """Holds Python's lock, so that nothing else in its process can run."""

    def misbehave(self):
        import ctypes

        ctypes.PyDLL(None).sleep(3600)


def bad_sound(path, sample_rate):
    """A sound's process that misbehaves at the second piece of a file, as the file's name asks it to."""
    from tal.audio.reader import told

    name = os.path.basename(path)
    for number, item in enumerate(told(path, sample_rate)):
        if number == 2:
            if "crash" in name:
                os.kill(os.getpid(), signal.SIGSEGV)
            if "sleep" in name:
                time.sleep(3600)
            if "throw" in name:
                raise ZeroDivisionError("no such thing\nas a sound")
        yield item
