"""How a finished file appears in a store: whole, under its name, in one step; and what a killed upload leaves behind.

An object store shows an object when its upload, or the last step of one in parts, is complete. Other stores (HDFS) show
a file as it grows: there it is written under a hidden name and renamed. The names of a task's files have its number, so
that what is left of an upload can be told to be its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from squall.connectors.contract import Unavailable
from squall.connectors.files.stores import Client

UPLOAD = ".upload"
PART_BYTES = 16 << 20
"""Of an upload in parts: what is smaller than two is sent in one."""
PROBE = ".squall-probe"


def uploaded(client: Client, local: Path, target: str, *, is_again: bool) -> None:
    """Makes a local file appear in the store; may be called again after any failure.

    Raises:
        Unavailable: not now.
        OSError: the store refuses it.
    """
    fs = client.fs
    if not client.store.renames:
        options = {"chunksize": PART_BYTES} if client.store.scheme in ("s3", "s3a") else {}
        return client.call(fs.put_file, str(local), target, **options)
    hidden = hidden_name(target)
    if not (is_again and _has(client, target, local)):
        client.call(fs.put_file, str(local), hidden)
        client.call(fs.mv, hidden, target)
        if not _has(client, target, local):
            raise Unavailable(f"{client.store.address(target)} did not appear when {hidden} was renamed")
    elif client.call(fs.exists, hidden):
        client.call(fs.rm, hidden)


def hidden_name(target: str) -> str:
    """What a file is called until it is whole."""
    folder, _, name = target.rpartition("/")
    return f"{folder}/.{name}{UPLOAD}"


def _has(client: Client, target: str, local: Path) -> bool:
    try:
        return client.call(client.fs.info, target)["size"] == os.path.getsize(local)
    except FileNotFoundError:
        return False


def check_writable(client: Client, root: str) -> None:
    """Sees that files can be written below a folder, without leaving any.

    Raises:
        Unavailable: not now.
        Exception: they cannot.
    """
    fs = client.fs
    if client.store.scheme in ("s3", "s3a"):
        bucket, key, _ = fs.split_path(f"{root}/{PROBE}")
        made = client.call(fs.call_s3, "create_multipart_upload", Bucket=bucket, Key=key)
        _abort(client, bucket, key, made["UploadId"])
    elif client.store.renames:
        client.call(fs.makedirs, root, exist_ok=True)
        client.call(fs.touch, f"{root}/{PROBE}")
        client.call(fs.rm, f"{root}/{PROBE}")


def remove_leftovers(client: Client, root: str, patterns: Sequence[re.Pattern[str]]) -> int:
    """Removes what killed uploads left; how many.

    Args:
        patterns: what folders, and the files of this task, are called, from the root on.

    Raises:
        Unavailable: not now.
    """
    fs, count = client.fs, 0
    if client.store.scheme in ("s3", "s3a"):
        for bucket, key, upload in _uploads(client, root):
            if _matches(f"{bucket}/{key}".removeprefix(f"{root}/"), patterns):
                _abort(client, bucket, key, upload)
                count += 1
    elif client.store.renames and client.call(fs.exists, root):
        for path in client.call(fs.find, root):
            folder, _, name = path.removeprefix(f"{root.rstrip('/')}/").rpartition("/")
            if name.startswith(".") and name.endswith(UPLOAD):
                shown = name[1 : -len(UPLOAD)]
                if _matches(f"{folder}/{shown}" if folder else shown, patterns):
                    client.call(fs.rm, path)
                    count += 1
    return count


def _matches(path: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    parts = path.split("/")
    return len(parts) == len(patterns) and all(
        pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=True)
    )


def _uploads(client: Client, root: str) -> Iterator[tuple[str, str, str]]:
    """Uploads in parts that were begun below a folder."""
    fs = client.fs
    bucket, prefix, _ = fs.split_path(f"{root}/")
    after = dict[str, Any]()
    while True:
        try:
            page = client.call(fs.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=prefix, **after)
        except PermissionError:  # to write is one right, to list another
            return
        for upload in page.get("Uploads", ()):
            yield bucket, upload["Key"], upload["UploadId"]
        if not page.get("IsTruncated"):
            return
        after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _abort(client: Client, bucket: str, key: str, upload: str) -> None:
    with suppress(FileNotFoundError, PermissionError):
        client.call(client.fs.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
