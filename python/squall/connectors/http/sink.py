"""A sink that sends rows by HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module
from string import Formatter
from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote, urlsplit

from squall._core import Tuple
from squall.api.components import Bolt
from squall.connectors.contract import Delivery
from squall.connectors.extras import need
from squall.connectors.http.answers import WAIT_S, Failed, Refused, Taken, Wait, meaning, shown
from squall.connectors.http.options import check_count, check_one_of, refused
from squall.connectors.named_fields import check_fields
from squall.connectors.secrets import resolved
from squall.errors import DeadLetter, RetryTuple, repr_of
from squall.model.durations import Seconds, seconds_or_none

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_IN_FLIGHT = 32
READ_BYTES = 64 << 10
"""Bytes of an answer that are read."""
GRACE_S = 10.0
"""How much longer than its requests may take a batch is held before the engine gives it up."""


class HttpAnswer(Exception):
    """An answer that is no success."""


class HttpSink(Bolt):
    """Sends each input as a JSON object, by the names of its fields; needs `pip install "squall[http]"`.

    In: any stream.
    Delivery: at least once: an input is acked when the answer is 2xx. 429 and 503 slow the topology: nothing is sent
        for as long as `Retry-After` says, then what was refused is sent again, uncounted; so does a server that cannot
        be reached. Other answers from 500 on, and no answer in time, are failures like any other. What is left (400,
        404, …) goes to the dead letters with the answer's text.
    Batches: with `batch` above 1 a body is an array of up to so many objects, or one object a line with `lines=True`.
        One that fails or is refused is sent again row by row, so that only the row that is to blame fails.
    Bound: `max_in_flight` requests at a time; 64 KiB of an answer are read.
    Metrics: counters `requests` and `rows`.
    Args:
        url: with fields in braces if wanted: `https://example.org/{country}/orders`; rows of one batch that differ in
            them are sent apart.
        headers: `env:NAME` in a value is read from the environment of the worker, and shown nowhere:
            `{"Authorization": "Bearer env:TOKEN"}`.
        timeout: for the whole of a request.
        verify: the path of a file with certificates to trust instead of the system's.

    Raises:
        TopologyError: `http_option` or `extra_missing`; `sink_field_unknown`, when it is opened.
    """

    delivery: ClassVar[Delivery] = Delivery(
        "at least once",
        "none: up to `max_in_flight` requests at a time; with `max_in_flight=1` as given while nothing fails",
        "repeats rows that were not acked",
        "uvicorn; HTTP/1.1, HTTPS",
    )

    def __init__(
        self,
        url: str,
        *,
        method: Literal["POST", "PUT", "PATCH"] = "POST",
        headers: Mapping[str, str] | None = None,
        batch: int = 1,
        lines: bool = False,
        timeout: Seconds = DEFAULT_TIMEOUT_S,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        verify: str | None = None,
    ) -> None:
        need("http", "httpx", "HttpSink")
        check_one_of("HttpSink", "method", method, ("POST", "PUT", "PATCH"))
        check_count("HttpSink", "batch", batch)
        check_count("HttpSink", "max_in_flight", max_in_flight)
        if not _is_url(url):
            raise refused(f"HttpSink has url={repr_of(url)}", "begin it with http:// or https:// and a host")
        timeout_s = seconds_or_none(timeout)
        if timeout_s is None or timeout_s <= 0:
            raise refused(f"HttpSink has timeout={repr_of(timeout)}", "give seconds, or a timedelta, above 0")
        self._fields = _fields_of(url)
        self._is_parted = bool(self._fields) or "{" in url
        if headers is not None and not _are_headers(headers):
            raise refused(f"HttpSink has headers={repr_of(headers)}", "give a mapping of texts to texts")
        self._url, self._method, self._headers = url, method, dict(headers or {})
        self._is_single, self._lines, self._verify = batch == 1, lines, verify
        self._timeout_s = timeout_s
        self.batch_max = batch  # pyright: ignore[reportAttributeAccessIssue]  # of this sink alone
        self.max_in_flight = max_in_flight  # pyright: ignore[reportAttributeAccessIssue]
        requests = batch if self._is_parted else 1
        self.hold_max = requests * self._timeout_s + GRACE_S  # pyright: ignore[reportAttributeAccessIssue]

    async def open(self, context: Any) -> None:
        """Makes the client; connections are made when they are needed."""
        check_fields(f'bolt "{context.component}"', {"url": self._fields}, context.inputs)
        httpx: Any = import_module("httpx")
        msgspec: Any = import_module("msgspec")
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request, with its address
        verify = True
        if self._verify is not None:
            import ssl

            verify = ssl.create_default_context(cafile=self._verify)
        # What is read of an answer is bounded, so it must not be one that grows when it is unpacked.
        headers = httpx.Headers({"content-type": self._content_type(), "accept-encoding": "identity"})
        headers.update(resolved(self._headers, f'bolt "{context.component}"'))
        limits = httpx.Limits(max_connections=self.max_in_flight, max_keepalive_connections=self.max_in_flight)
        self._client = httpx.AsyncClient(headers=headers, timeout=None, limits=limits, verify=verify)
        self._unreachable, self._broken = httpx.ConnectError, (httpx.HTTPError, TimeoutError)
        self._encode = msgspec.json.encode
        self._requests, self._rows = context.counter("requests"), context.counter("rows")

    def _content_type(self) -> str:
        return "application/x-ndjson" if self._lines else "application/json"

    async def process_batch(self, tuples: list[Tuple]) -> list[Exception | None] | None:
        """Sends a batch; a request for each address."""
        outcome: list[Exception | None] = [None] * len(tuples)
        parts: dict[str, list[tuple[int, bytes]]] = {}
        for number, tup in enumerate(tuples):
            row = dict(zip(tup.fields, tup.values, strict=True))
            try:
                parts.setdefault(self._address(row), []).append((number, self._encode(row)))
            except Exception as error:
                outcome[number] = _unsendable(error)
        for url, rows in parts.items():
            if error := await self._sent(url, [row for _, row in rows]):
                if len(rows) == len(tuples):
                    raise error  # of all: each is tried alone before it counts
                for number, _ in rows:
                    outcome[number] = error
        return outcome if any(outcome) else None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _address(self, row: Mapping[str, Any]) -> str:
        if not self._is_parted:
            return self._url
        return self._url.format_map({name: _quoted(value) for name, value in row.items()})

    async def _sent(self, url: str, rows: list[bytes]) -> Exception | None:
        """What one request failed of."""
        self._requests.add()
        where = f"{self._method} {_without_query(url)}"
        try:
            async with asyncio.timeout(self._timeout_s):
                answer, said = await self._asked(url, self._body(rows))
        except self._unreachable as error:
            return self._wait(WAIT_S, f"{where}: {error}")
        except self._broken as error:
            return HttpAnswer(f"{where}: no answer: {type(error).__name__} {error}".rstrip())
        text = shown(answer.status_code, said)
        match meaning(answer.status_code, answer.headers, self.context.now()):
            case Taken():
                self._rows.add(len(rows))
                return None
            case Wait(after_s=after_s):
                return self._wait(after_s, f"{where}: {text}")
            case Refused() if len(rows) == 1:
                return DeadLetter(f"{where}: {text}")
            case Refused() | Failed():
                return HttpAnswer(f"{where}: {text}")

    async def _asked(self, url: str, body: bytes) -> tuple[Any, str]:
        """An answer, and the beginning of its text; a connection with more of it is closed."""
        async with self._client.stream(self._method, url, content=body) as answer:
            raw = b""
            async for part in answer.aiter_raw():
                raw += part
                if len(raw) >= READ_BYTES:
                    break
            return answer, raw[:READ_BYTES].decode(answer.encoding, "replace")

    def _body(self, rows: list[bytes]) -> bytes:
        if self._lines:
            return b"\n".join(rows) + b"\n"
        return rows[0] if self._is_single else b"[" + b",".join(rows) + b"]"

    def _wait(self, after_s: float, reason: str) -> RetryTuple:
        self.context.pause(after_s)
        return RetryTuple(reason, after=after_s, counts=False)


def _fields_of(url: str) -> tuple[str, ...]:
    """The fields that the address has in braces.

    Raises:
        TopologyError: `http_option`.
    """
    fix = "write {field} for a field of the rows, and {{ for a brace"
    try:
        parts = [(field, spec, conversion) for _, field, spec, conversion in Formatter().parse(url)]
    except ValueError as error:
        raise refused(f"HttpSink has url={repr_of(url)}: {error}", fix) from error
    fields = [part for part in parts if part[0] is not None]
    if any(not (field or "").isidentifier() or spec or conversion for field, spec, conversion in fields):
        raise refused(f"HttpSink has url={repr_of(url)}", fix)
    return tuple(name for name, _, _ in fields if name is not None)


def _quoted(value: object) -> str:
    """A value as part of an address: it can be no other part than the one that it stands in."""
    text = quote(str(value), safe="")
    return text.replace(".", "%2E") if text in (".", "..") else text


def _unsendable(error: Exception) -> DeadLetter:
    letter = DeadLetter(f"the row cannot be sent: {type(error).__name__}: {error}")
    letter.__cause__ = error
    return letter


def _without_query(url: str) -> str:
    """The address as it may be shown: queries and passwords may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_url(url: object) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _are_headers(headers: object) -> bool:
    if not isinstance(headers, Mapping):
        return False
    try:
        given = dict(cast("Mapping[Any, Any]", headers))
    except Exception:  # a mapping of somebody's own
        return False
    return all(isinstance(text, str) for pair in given.items() for text in pair)
