"""Lossless coding: rows of data as a stack of bits, by bits-back coding under any model whose parts can be coded."""

from lowerbound.coding.bits_back import BATCH, Codec, Encoded, exactly, groups_of
from lowerbound.coding.numbering import Steps
from lowerbound.coding.stack import Stack, StackError

__all__ = ["BATCH", "Codec", "Encoded", "Stack", "StackError", "Steps", "exactly", "groups_of"]
