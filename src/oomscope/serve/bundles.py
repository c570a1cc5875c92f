"""Saved evidence, one archive a stage: on disk, or in a bucket when several replicas share it."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from oomscope import evidence
from oomscope.errors import UnreadableError
from oomscope.serve.settings import Settings
from oomscope.sources.aws_common import aws_errors

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

MAX_ARCHIVE = 2 << 30


class BundleStore(Protocol):
    """Archives by name. Names are made of a kill's id and a step, never of anything from outside."""

    def put(self, name: str, data: bytes) -> None:
        """Store, all or nothing; an archive of that name is replaced."""

    def get(self, name: str) -> bytes:
        """Raises ``UnreadableError`` when it is not there or cannot be read."""

    def delete(self, name: str) -> None:
        """Forget; nothing happens when it is not there."""


def open_bundles(settings: Settings) -> BundleStore:
    """The store that is configured."""
    place = settings.serve.bundles_s3
    if place:
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return S3Bundles(settings, bucket, prefix.strip("/"))
    return DiskBundles(settings.data_dir / "bundles")


def pack(bundle: Bundle) -> bytes:
    """The bundle folder as one archive."""
    with tempfile.TemporaryDirectory(prefix="oomscope-") as temporary:
        folder = Path(temporary) / "bundle"
        evidence.save(bundle, folder)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, arcname=path.name)
    return buffer.getvalue()


def unpack(data: bytes) -> Bundle:
    """What ``pack`` packed. Raises ``UnreadableError`` when it is damaged."""
    with tempfile.TemporaryDirectory(prefix="oomscope-") as temporary:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                archive.extractall(temporary, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise _unreadable(str(error)) from error
        return evidence.load(Path(temporary))


def _unreadable(why: str) -> UnreadableError:
    return UnreadableError(
        "saved evidence cannot be read", tried=why, likely="lost or damaged", slug="bundle-damaged"
    )


class DiskBundles:
    """Archives below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        """See ``BundleStore``. On disk (not just in its cache) when this returns."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def get(self, name: str) -> bytes:
        """See ``BundleStore``."""
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise _unreadable(error.strerror or str(error)) from error

    def delete(self, name: str) -> None:
        """See ``BundleStore``."""
        (self._folder / name).unlink(missing_ok=True)


class S3Bundles:
    """Archives in a bucket, below a prefix. Credentials as for every other AWS call."""

    def __init__(self, settings: Settings, bucket: str, prefix: str) -> None:
        self._settings, self._bucket, self._prefix = settings, bucket, prefix

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        aws = self._settings.config.chosen(None).aws
        session = boto3.Session(profile_name=aws.profile, region_name=aws.region)
        config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})
        return session.client("s3", endpoint_url=aws.endpoint_url, config=config)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def put(self, name: str, data: bytes) -> None:
        """See ``BundleStore``. Raises ``OSError`` when the bucket refuses."""
        try:
            self._client().put_object(Bucket=self._bucket, Key=self._key(name), Body=data)
        except aws_errors() as error:
            raise OSError(f"the bucket {self._bucket} refused: {error}") from error

    def get(self, name: str) -> bytes:
        """See ``BundleStore``."""
        errors: tuple[type[Exception], ...] = (*aws_errors(), OSError)
        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=self._key(name))
            data: bytes = answer["Body"].read(MAX_ARCHIVE)
        except errors as error:
            raise _unreadable(str(error)) from error
        return data

    def delete(self, name: str) -> None:
        """See ``BundleStore``. Raises ``OSError`` when the bucket refuses."""
        try:
            self._client().delete_object(Bucket=self._bucket, Key=self._key(name))
        except aws_errors() as error:
            raise OSError(f"the bucket {self._bucket} refused: {error}") from error
