"""Readers of formats, one file each: those in which data sets were published, and lines of text. Nothing is unpickled.

Those of published data take files whose checksums were verified, and return arrays.
"""

__all__: list[str] = []
