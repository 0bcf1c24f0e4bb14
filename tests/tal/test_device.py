"""Devices that are there, and those that are not."""

import pytest

from tal.device import choose_device
from tal.errors import TalError


def _gpus(monkeypatch, count):
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)


@pytest.mark.parametrize(
    ("asked", "gpus", "got"),
    [("auto", 0, "cpu"), ("auto", 1, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda"), ("cuda:1", 2, "cuda:1")],
)
def test_what_is_there(monkeypatch, asked, gpus, got):
    _gpus(monkeypatch, gpus)
    assert str(choose_device(asked)) == got


@pytest.mark.parametrize(("asked", "gpus"), [("cuda", 0), ("cuda:1", 1), ("tpu?", 1)])
def test_what_is_not(monkeypatch, asked, gpus):
    _gpus(monkeypatch, gpus)
    with pytest.raises(TalError, match=r"device '(cuda|cuda:1|tpu\?)'"):
        choose_device(asked)
