"""Warnings of this library: something is left out or is not to be trusted, and the call goes on."""

from __future__ import annotations

__all__ = ["LowerboundWarning"]


class LowerboundWarning(UserWarning):
    """What a user has to know of a call that goes on; the message is a sentence, with a remedy where there is one."""
