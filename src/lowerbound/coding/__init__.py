"""Lossless coding: rows of data as a stack of bits, by bits-back coding under any model whose parts can be coded."""

from lowerbound.coding.bits_back import BATCH, Codec, CodedRows, exactly, groups_of
from lowerbound.coding.numbering import BentSteps, Steps
from lowerbound.coding.stack import BitStack, StackError

__all__ = [
    "BATCH",
    "BentSteps",
    "BitStack",
    "Codec",
    "CodedRows",
    "StackError",
    "Steps",
    "exactly",
    "groups_of",
]
