"""An emulator of S3: moto's server. It is no real store: what it keeps is in memory, and a restart loses it."""

from __future__ import annotations

import importlib.util
import sys
import urllib.request

from servers.names import fresh
from servers.process import Process
from servers.server import Address, Server


class S3Address(Address):
    """A store at `url`, which takes any key; `key` and `secret` are as good as others."""

    key = "squall"
    secret = "squall-secret"
    region = "us-east-1"

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.address}"

    @property
    def options(self) -> dict[str, object]:
        """What `fsspec.filesystem("s3", **options)` needs."""
        client = {"region_name": self.region}
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.url, "client_kwargs": client}

    def bucket(self, name: str = "bucket") -> str:
        """Makes a bucket of a fresh name, and returns that."""
        bucket = fresh(name).replace("_", "-")
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{bucket}", method="PUT"), timeout=10).close()
        return bucket


class S3(Server, S3Address):
    """moto, in a process of its own."""

    name = "s3"
    title = "moto (S3, emulated)"
    reach = S3Address

    @classmethod
    def is_installed(cls) -> bool:
        """Whether moto is there; it comes with what the tests need."""
        return importlib.util.find_spec("moto") is not None

    def begin(self) -> dict[str, Process]:
        """Starts it."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        return {"moto": Process(command, self.folder / "moto.log")}

    def answers(self) -> bool:
        """Whether its own pages are served."""
        with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5) as answer:
            return answer.status == 200
