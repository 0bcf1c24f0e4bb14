"""Ray found, asked to be quiet, and left as it was."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tal.errors import TalError

_LOG = logging.getLogger(__name__)

_CONNECT_S = 5.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_py_gcs_connect_timeout_s": "5",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_worker_niceness": "0",
}


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """The module ray, connected.

    Args:
        address: Of a cluster, HOST:PORT as `ray start --head` prints it, or "auto" for the one that this machine
            belongs to; None starts one of this machine's cores, which ends with the block. A connection that is there
            already is used, and kept, if no address is given.

    Raises:
        TalError: ray is not installed, or nothing answers at the address.
    """
    for name, value in _QUIET.items():  # read once, when ray is imported
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        todo = "pip install 'tal[ray]', on every machine of the cluster"
        raise TalError(f"--engine ray cannot be used: {error}", todo=todo) from error
    if address is None and ray.is_initialized():
        yield ray
        return
    if address not in (None, "auto", "local"):
        _check_answers(address)
    try:
        if address in (None, "local"):
            ray.init("local", include_dashboard=False, logging_level=logging.ERROR)
        else:
            ray.init(address, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(str(address), str(error).splitlines()[0]) from error
    except Exception as error:
        if "timed out during startup" not in str(error):  # Ray has no kind of error for it
            raise
        raise TalError(
            "Ray did not start within the thirty seconds that it allows itself",
            cause="this machine is too busy",
            todo="run it again when less runs beside, or leave --engine out",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def node_answers(address: str, port: int) -> bool:
    """Whether a node's Ray lives: something listens at its port."""
    try:
        socket.create_connection((address, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _check_answers(address: str) -> None:
    """Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal():
        raise TalError(
            f"--address {address}",
            expected="HOST:PORT of the cluster's head, or auto on a machine of the cluster",
            todo="run tal on a machine that has joined the cluster: it and the workers write to one folder",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, reason: str) -> TalError:
    return TalError(
        f"no Ray cluster at {address}: {reason}",
        cause="the cluster is not running, its address is another, or a firewall is between",
        todo="ray status on the head tells its address; leave --address out to use this machine's cores alone",
    )
