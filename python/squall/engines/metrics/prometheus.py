"""Prometheus text, and a small server for it in the run's parent: it answers also while user code hangs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import (
    ThreadingWSGIServer,
    make_wsgi_app,  # pyright: ignore[reportUnknownVariableType]
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from squall.engines.metrics.families import Family
from squall.errors import ClusterError, ConfigError, Defect
from squall.model.addresses import address_of, split_address

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

LOOPBACK = "127.0.0.1"
AT_ONCE = 16
"""Requests that are answered at the same time; more are refused, so that they take no memory."""
REQUEST_WITHIN_S = 10.0


class Families(Collector):
    """Gives the families of now to prometheus-client."""

    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        """Nothing: what there is depends on the run."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Everything that is known now."""
        for family in self._families():
            metric = Metric(family.name, family.help, family.kind.value, family.unit)
            for sample in family.samples:
                metric.add_sample(family.name + sample.suffix, dict(sample.labels), sample.value)
            yield metric


def registry_of(families: Callable[[], Iterable[Family]]) -> CollectorRegistry:
    """A registry of these alone: none of the figures that a library adds of its own process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(families))
    return registry


def text(families: Sequence[Family]) -> str:
    """Families as Prometheus reads them."""
    return generate_latest(registry_of(lambda: families)).decode()


class Endpoint:
    """Serves the families at an address until it is closed.

    Args:
        address: `PORT`, on this machine's own address, or `HOST:PORT`; port 0 is any that is free.

    Bound: 16 requests at once; one that takes longer than 10 s to come is given up.

    Raises:
        ConfigError: `metrics_address`.
        ClusterError: `metrics_unserved`: nothing can listen there.
    """

    def __init__(self, address: str, families: Callable[[], Iterable[Family]]) -> None:
        host, port = _parsed(address)
        app = cast("WSGIApplication", make_wsgi_app(registry_of(families)))
        try:
            self._server = make_server(host, port, app, _server_for(host), _Quiet)
        except OSError as error:
            raise _unserved(address_of(host, port), error) from None
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._server.server_address[:2]
        return f"http://{address_of(str(host), int(port))}/metrics"

    def close(self) -> None:
        """Ends; the address is free again."""
        self._is_closed = True
        self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread; the library's own way looks twice a second
        self._thread.join()
        self._server.server_close()

    def _serve(self) -> None:
        while not self._is_closed:
            self._server.handle_request()


def _parsed(address: str) -> tuple[str, int]:
    try:
        host, port = split_address(address)
    except ValueError:
        fix = "write PORT for this machine only, or HOST:PORT: 9100, 0.0.0.0:9100, [::1]:9100; port 0 is any"
        raise ConfigError(Defect("metrics_address", f'"{address}" is no address for metrics', (), fix)) from None
    return host or LOOPBACK, port


def _unserved(address: str, error: OSError) -> ClusterError:
    facts = (("because", error.strerror or str(error)),)
    fix = "name another address (--metrics 0 takes any free port), or end what listens there: ss -ltnp shows it"
    return ClusterError(Defect("metrics_unserved", f"metrics cannot be served on {address}", facts, fix))


class _Quiet(WSGIRequestHandler):
    """Logs nothing, and waits for nobody."""

    timeout = REQUEST_WITHIN_S

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no event."""


class _Server(ThreadingWSGIServer):
    """Answers a few requests at once, each on a thread of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Binds, without asking a name server what this machine is called."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers on a thread, if there is one left."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone; nobody is there to be told."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_for(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server
