"""Lossless coding: rows of data as a stack of bits, by bits-back coding under any model whose parts can be coded."""

from lowerbound.coding.bits_back import Codec, Encoded
from lowerbound.coding.numbering import Steps
from lowerbound.coding.stack import StackError

__all__ = ["Codec", "Encoded", "StackError", "Steps"]
