"""Where cohorts and runs are stored: a folder, or a prefix of an object store such as S3.

Both are the same few operations by name, so that nothing else has to know which it is. The rule
of both: a file is there whole or not at all, and in the order in which files were written.
"""

from __future__ import annotations

from pathlib import Path

from preprocess.storage.folder import FolderStorage
from preprocess.storage.interface import LOCK, LocalCopy, Storage, StorageError

__all__ = [
    "LOCK",
    "FolderStorage",
    "LocalCopy",
    "Location",
    "Storage",
    "StorageError",
    "absolute",
    "open_storage",
]

Location = Storage | Path | str
"""A folder's path, a URI such as ``s3://bucket/runs``, or what either was opened as."""


def open_storage(location: Location) -> Storage:
    """The folder at a location; it need not be there yet, but the bucket of an object store must.

    Raises:
        StorageError: there is no such bucket, or it cannot be reached or used.
    """
    if isinstance(location, Storage):
        return location
    if isinstance(location, str) and "://" in location:
        from preprocess.storage.objects import ObjectStorage

        return ObjectStorage.at(location)
    return FolderStorage(Path(location))


def absolute(location: str) -> str:
    """The same location for processes that have another working directory."""
    return location if "://" in location else str(Path(location).absolute())
