"""Readers of the formats in which data sets were published, one file a format. Nothing is unpickled.

Each takes the paths of files whose checksums were compared and returns arrays.
"""

__all__: list[str] = []
