"""Freed memory is kept where the C library can, and nothing breaks where it cannot."""

import ctypes
import sys

import pytest

from simclr_edu import device


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_glibc_accepts_both_settings_again_and_again():
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt")
    assert device.keep_freed_memory() and device.keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("asked the C library"))
    assert device.keep_freed_memory() is False


def test_a_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert device.keep_freed_memory() is False


def test_a_refusal_is_reported(monkeypatch):
    class Refusing:
        mallopt = staticmethod(lambda *_: 0)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Refusing)
    assert device.keep_freed_memory() is False
