"""Whether Hugging Face's hub can be reached, found out in seconds where its own client tries for a minute."""

import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 5.0


@contextmanager
def quick_hub() -> Iterator[None]:
    """Without a network, what is on this machine already loads and the rest fails at once.

    The hub's client retries every request six times with growing pauses. Here one request is tried first; if nothing
    answers, the client is in its offline mode for the while. Any answer, also a refusal, counts as a network.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not reachable(constants.ENDPOINT):
        _LOG.info("%s does not answer: only weights that were fetched before can be loaded", constants.ENDPOINT)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(url: str, patience_s: float = _PATIENCE_S) -> bool:
    """Whether anything answers at an address, through the proxy where one is set up."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=patience_s):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # The client may trust other authorities than Python does.
    except OSError:
        return False
