"""An object store through pyarrow, and its errors as sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from preprocess.storage.interface import StorageError
from preprocess.storage.names import check_path

PATIENT_ATTEMPTS = 8
"""Of one request, further and further apart: somewhat less than a minute until it is given up."""
QUICK_ATTEMPTS = 3
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
NO_RIGHT = "ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIAL|status 403"
NO_BUCKET = "NO_SUCH_BUCKET|Bucket '.*' not found"
NO_ANSWER = "NETWORK|curlCode|TIMEOUT|UNAVAILABLE|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE"


@dataclass(frozen=True)
class Stored:
    """An object as a listing tells of it.

    Attributes:
        key: bucket and path.
        size: in bytes.
        modified: when it was written, by the store's clock.
    """

    key: str
    size: int
    modified: float


@dataclass(frozen=True)
class ObjectStore:
    """One bucket of a store. Keys begin with the bucket's name.

    Attributes:
        scheme: such as ``s3``.
        bucket: its name.
        query: options of the location, as pyarrow's file systems take them in a URI
            (``endpoint_override``, ``region``, ``scheme``).
        attempts: of every request.
    """

    scheme: str
    bucket: str
    query: str = ""
    attempts: int = PATIENT_ATTEMPTS

    @classmethod
    def of(cls, location: str) -> tuple[ObjectStore, str]:
        """The store that a URI means, and the key.

        Raises:
            StorageError: there is no such bucket, or it cannot be reached or used.
            ValueError: the key could lead elsewhere.
        """
        parts = urlsplit(location)
        if not parts.netloc:
            raise StorageError(f"{location} names no bucket; expected such as s3://bucket/runs.")
        key = f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        check_path(key, "a folder in an object store")
        quick = cls(parts.scheme, parts.netloc, parts.query, QUICK_ATTEMPTS)
        with quick._describe(parts.netloc):
            # A key that is absent looks the same in a bucket that is: ask for the bucket once.
            if quick._files.get_file_info(parts.netloc).type.name == "NotFound":
                raise _no_bucket(quick.location(parts.netloc))
        return cls(parts.scheme, parts.netloc, parts.query), key

    @property
    def quick(self) -> ObjectStore:
        """The same store for those who would rather know soon that it does not answer."""
        return ObjectStore(self.scheme, self.bucket, self.query, QUICK_ATTEMPTS)

    def location(self, key: str) -> str:
        """The URI of a key."""
        return f"{self.scheme}://{key}" + (f"?{self.query}" if self.query else "")

    def get(self, key: str) -> bytes | None:
        """An object, or None where there is none."""
        with self._describe(key):
            try:
                with self._files.open_input_file(key) as file:
                    content: bytes = file.read()
                    return content
            except FileNotFoundError:
                return None

    def put(self, key: str, content: bytes) -> None:
        """Write an object; it appears whole or not at all."""
        with self._describe(key), self._files.open_output_stream(key, compression=None) as file:
            file.write(content)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self._describe(key):
            try:
                self._files.delete_file(key)
            except FileNotFoundError:
                return

    def delete_below(self, key: str) -> None:
        """Remove every object below a key."""
        with self._describe(key):
            try:
                self._files.delete_dir(key)
            except FileNotFoundError:
                return

    def look(self, key: str) -> Stored | None:
        """What there is to know of an object; None where there is none."""
        with self._describe(key):
            return _stored(self._files.get_file_info(key))

    def below(self, key: str, *, recursive: bool = False) -> list[Stored]:
        """The objects right below a key, or all the way down, by key."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(key, recursive=recursive, allow_not_found=True)
        with self._describe(key):
            found = [_stored(info) for info in self._files.get_file_info(selector)]
        return sorted((each for each in found if each), key=lambda each: each.key)

    @cached_property
    def _files(self) -> Any:
        from pyarrow import fs

        options: dict[str, Any] = dict(parse_qsl(self.query))
        if self.scheme != "s3":
            return fs.FileSystem.from_uri(self.location(self.bucket))[0]
        for name in ENDPOINTS:
            if address := os.environ.get(name):
                options.setdefault("endpoint_override", address)
        if not options.keys() & {"endpoint_override", "region"}:
            options["region"] = fs.resolve_s3_region(self.bucket)
        return fs.S3FileSystem(
            **options,
            allow_delayed_open=True,  # one request for a small object, not three
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=self.attempts),
        )

    @contextmanager
    def _describe(self, key: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as problem:
            raise _describe_problem(problem, self.location(key)) from problem


def _stored(info: Any) -> Stored | None:
    if not info.is_file:
        return None
    return Stored(info.path, info.size, info.mtime_ns / 1e9)


def _describe_problem(problem: OSError, location: str) -> StorageError:
    said = " ".join(str(problem).split())
    if re.search(NO_BUCKET, said):
        return _no_bucket(location)
    if re.search(NO_ANSWER, said):
        return StorageError(
            f"The store of {location} does not answer ({_end_of(said)}). Check the network and "
            "the endpoint, and give the same command again: it continues where it stopped."
        )
    if re.search(NO_RIGHT, said):
        return StorageError(
            f"The store refuses {location} ({_end_of(said)}): there are no credentials here, or "
            "they have no right to it. Give them by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "`aws configure`, or the instance profile of the machine; they must list the bucket "
            "and read, write and delete objects."
        )
    return StorageError(f"{location} cannot be used: {said}.")


def _no_bucket(location: str) -> StorageError:
    return StorageError(
        f"There is no bucket for {location}. Check its name and the endpoint, or make it: angioray "
        "makes no buckets."
    )


def _end_of(said: str) -> str:
    """The part that tells what happened, without what was asked for."""
    return re.sub(r"^.*?AWS Error ", "", said).partition("; Details")[0].rstrip(".")
