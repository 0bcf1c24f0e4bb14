"""Several processes that train together: what they tell, their errors, and Ctrl-C, which their parent listens for."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event

from lightning.pytorch import Callback, LightningModule, Trainer

from tal.console import set_up_logging
from tal.errors import TalError

EXIT_CODE = 130
"""Of a process that stopped because it was asked to."""

_log = logging.getLogger("tal.train")


@contextlib.contextmanager
def listening(stop: Event, end: Callable[[], None]) -> Iterator[None]:
    """Listen for Ctrl-C; processes that are started meanwhile do not see it until they are `OneOfSeveral`.

    A thread listens, because the main one waits for the others and runs no handler. The signal is blocked in the main
    thread, and with it in the processes that it starts: else they would end with a traceback each while they load.

    Args:
        stop: Set at the first Ctrl-C.
        end: Called at every further one, from the thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    listener = threading.Thread(target=_listen, args=(reader, stop, end), daemon=True)
    handler, woken = signal.signal(signal.SIGINT, lambda *_: None), signal.set_wakeup_fd(writer)
    listener.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, handler)
        os.close(writer)
        listener.join()
        os.close(reader)


def _listen(reader: int, stop: Event, end: Callable[[], None]) -> None:
    """Until the other side of the pipe is closed."""
    while numbers := os.read(reader, 16):
        for _ in range(numbers.count(signal.SIGINT)):
            if stop.is_set():
                end()
            else:
                stop.set()
                _log.warning("stopping as soon as a checkpoint is written; Ctrl-C again ends at once")


class OneOfSeveral(Callback):
    """In each of the processes: tells what the one that started them would, and leaves Ctrl-C to that one."""

    def __init__(self) -> None:
        logger = logging.getLogger("tal")
        self._level = logging.getLevelName(logger.level).lower() if logger.handlers else None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin."""
        if multiprocessing.parent_process() is not None:
            if self._level is not None:
                set_up_logging(self._level)
            quiet()
            _leave_to_parent()


def user_error(raised: Exception) -> TalError | None:
    """The `TalError` that a process ended with, if it did: of its exception torch keeps the traceback's text."""
    *_, last = str(raised).split("Traceback (most recent call last):")
    _, found, text = last.partition("\ntal.errors.")
    return TalError(text.partition(": ")[2].strip()) if found else None


def quiet() -> None:
    """Silence what Lightning says to everybody; what goes wrong is still raised."""
    for name in ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def _leave_to_parent() -> None:
    """Of Ctrl-C, only that which torch has the system send when the parent dies ends this process."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None or threading.current_thread() is not threading.main_thread():
        return
    pid = parent.pid

    def ended(*_: object) -> None:
        if os.getppid() != pid:
            os._exit(EXIT_CODE)

    signal.signal(signal.SIGINT, ended)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
