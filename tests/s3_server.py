"""An S3 server of one's own on loopback: moto's, which keeps what it is given in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests
from moto.server import ThreadedMotoServer

BUCKET = "angiograms"


@dataclass(frozen=True)
class S3:
    """A server with one bucket.

    Attributes:
        client: boto3's, another implementation than the one that is tested.
        environment: the variables by which a process finds it.
        cache: where processes on this machine keep copies.
    """

    client: Any
    environment: dict[str, str]
    cache: Path

    def uri(self, name: str) -> str:
        """The location of something in the bucket."""
        return f"s3://{BUCKET}/{name}"

    def upload(self, folder: Path, name: str) -> str:
        """Copy a folder's files, as ``aws s3 sync`` does; where they lie now."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.upload_file(str(path), BUCKET, f"{name}/{path.relative_to(folder)}")
        return self.uri(name)

    def keys(self, name: str = "") -> list[str]:
        """The keys below a name, without it; markers of folders left out."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=name)
        found = [o["Key"] for page in pages for o in page.get("Contents", [])]
        return [key[len(name) :].lstrip("/") for key in found if not key.endswith("/")]

    def get(self, key: str) -> bytes:
        """An object's content."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)


@contextmanager
def serving(cache: Path) -> Iterator[S3]:
    """Run a server; this process and those that it starts find it by their environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    endpoint = f"http://{host}:{port}"
    variables = {
        **keys,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "ANGIORAY_CACHE": str(cache),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    # Moto keeps its objects by the process, not by the server: forget those of the last one.
    requests.post(f"{endpoint}/moto-api/reset", timeout=60).raise_for_status()
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    try:
        yield S3(client, variables, cache)
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
