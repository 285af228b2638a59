from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lowerbound.training import tuning
from lowerbound.training.tuning import cpu_tuning

CPU = torch.device("cpu")


def flushes() -> bool:
    return bool(torch.tensor(1e-310, dtype=torch.float64) * 1.0 == 0)


@pytest.fixture(autouse=True)
def _leave_denormals_alone() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_inside_and_as_before_outside(before: bool) -> None:
    if not torch.set_flush_denormal(before):
        pytest.skip("this processor cannot flush denormals")
    with cpu_tuning(CPU):
        assert flushes()
    assert flushes() == before


def test_settings_are_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds = []
    monkeypatch.setattr(tuning, "_set_thresholds", lambda mmap, trim: thresholds.append((mmap, trim)))
    with pytest.raises(RuntimeError, match="inside"), cpu_tuning(CPU):
        raise RuntimeError("inside")
    assert not flushes()
    assert thresholds == [(32 * 1024**2, 1024**3), (128 * 1024, 128 * 1024)]  # the second are glibc's own


def test_other_devices_leave_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_set_thresholds", lambda mmap, trim: pytest.fail("the allocator was tuned"))
    with cpu_tuning(torch.device("cuda")):
        assert not flushes()


def test_a_platform_without_mallopt_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("looked for a C library"))
    with cpu_tuning(CPU):
        pass


def test_large_blocks_are_kept_while_tuned() -> None:
    """The thresholds are numbers that glibc accepts: mallopt returns 1."""
    import ctypes
    import sys

    if not sys.platform.startswith("linux"):
        pytest.skip("glibc only")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        pytest.skip("this C library has no mallopt")
    assert mallopt(tuning._MMAP_THRESHOLD, tuning._TUNED_MMAP) == 1
    assert mallopt(tuning._TRIM_THRESHOLD, tuning._TUNED_TRIM) == 1
    tuning._set_thresholds(tuning._DEFAULT, tuning._DEFAULT)
