"""Readers of the formats in which data sets were published, one file per format. Nothing is unpickled.

Each takes paths of files whose checksums were verified, and returns arrays.
"""

__all__: list[str] = []
