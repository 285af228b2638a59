"""Arrays that numpy alone would read otherwise than they are meant: tensors, and arrays with a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["plain"]


def plain(x: Any) -> Any:
    """A tensor as an array, whether or not it has a gradient (bfloat16, which arrays do not have, as float32); NaN in
    place of masked entries, whose values numpy would take; everything else as it is.

    >>> plain(np.ma.array([1.0, 2.0], mask=[False, True]))
    array([ 1., nan])
    """
    if hasattr(x, "detach"):
        cpu = x.detach().cpu()
        return np.asarray(cpu.float() if str(cpu.dtype) == "torch.bfloat16" else cpu)
    if not isinstance(x, np.ma.MaskedArray):
        return x
    if not np.ma.is_masked(x):
        return np.asarray(x)
    dtype = np.result_type(x.dtype, np.float32) if x.dtype.kind in "biuf" else object
    return np.ma.filled(x.astype(dtype), np.nan)
