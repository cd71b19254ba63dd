"""TLS of sources that read sockets: certificates and keys as PEM files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from squall import _core
from squall.errors import ClusterError, Defect, TopologyError, repr_of

FilePath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypted connections, TLS 1.2 and 1.3.

    A server needs `certificate` (with those between it and its root behind it) and `key`; with `client_ca` it takes
    only clients whose certificate leads to one in that file. A client trusts what is in `ca`, else what the system
    trusts, and shows `certificate` and `key` to a server that asks; `server_name` is what the server's certificate must
    be for, if that is not the host that is called.

    Files are read when the topology is started: renewed certificates need a restart of the worker.
    """

    certificate: FilePath | None = None
    key: FilePath | None = None
    client_ca: FilePath | None = None
    ca: FilePath | None = None
    server_name: str | None = None

    def check_server(self, who: str) -> None:
        """Refuses what a server has no use for.

        Raises:
            TopologyError: `tls_invalid`.
        """
        if self.certificate is None or self.key is None:
            fix = 'write Tls(certificate="server.pem", key="server.key")'
            raise TopologyError(Defect("tls_invalid", f"{who} has TLS without a certificate and its key", (), fix))
        if self.ca is not None or self.server_name is not None:
            fix = "give client_ca= if clients are to show certificates"
            raise TopologyError(Defect("tls_invalid", f"{who} has TLS with ca or server_name, a client's", (), fix))

    def check_client(self, who: str) -> None:
        """Refuses what a client has no use for.

        Raises:
            TopologyError: `tls_invalid`.
        """
        if self.client_ca is not None:
            fix = "give ca= for the certificates that servers are to have"
            raise TopologyError(Defect("tls_invalid", f"{who} has TLS with client_ca, a server's", (), fix))
        if (self.certificate is None) != (self.key is None):
            fix = "give both, or none if no server asks for them"
            raise TopologyError(Defect("tls_invalid", f"{who} has TLS with one of certificate and key", (), fix))

    def server(self) -> _core.TlsSide:
        """Reads the files of a server.

        Raises:
            ClusterError: `tls_unusable`.
        """
        assert self.certificate is not None
        assert self.key is not None
        try:
            return _core.TlsSide.server(self.certificate, self.key, self.client_ca)
        except ValueError as error:
            raise unusable(str(error)) from error

    def client(self) -> _core.TlsSide:
        """Reads the files of a client.

        Raises:
            ClusterError: `tls_unusable`.
        """
        try:
            return _core.TlsSide.client(self.ca, self.certificate, self.key, self.server_name)
        except ValueError as error:
            raise unusable(str(error)) from error


def unusable(because: str) -> ClusterError:
    """Files that TLS cannot use."""
    fix = "give PEM files that can be read, and a key that belongs to its certificate"
    return ClusterError(Defect("tls_unusable", "TLS cannot be used", (("because", because),), fix))


def check_tls(who: str, tls: object) -> None:
    """Refuses what is no `Tls`; None is none.

    Raises:
        TopologyError: `tls_invalid`.
    """
    if tls is not None and not isinstance(tls, Tls):
        raise TopologyError(Defect("tls_invalid", f"{who} has tls={repr_of(tls)}", (), "give Tls(…)"))
