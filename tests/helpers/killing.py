"""Processes that are killed at any instant.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from killing import kill_some_time_after
"""

import multiprocessing
import os
import signal
import time


def kill_some_time_after(path, delay_s, *work):
    """Fork a process for each function with its arguments, and kill them all `delay_s` after the path exists."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=function, args=arguments) for function, *arguments in work]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay_s)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
