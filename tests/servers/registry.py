"""A schema registry: Apicurio, by the interface that Confluent's clients speak."""

from __future__ import annotations

import tarfile
import urllib.request
from pathlib import Path

from servers import installing
from servers.java import JavaServer
from servers.process import Process
from servers.server import Address

ARCHIVE = "apicurio-registry-app-2.6.13.Final-all.tar.gz"
RUNNER = "apicurio-registry-app-2.6.13.Final-runner.jar"
INTERFACE = "/apis/ccompat/v7"


class RegistryAddress(Address):
    """A registry, at `url`."""

    @property
    def url(self) -> str:
        """What a client of the Confluent registry is given."""
        return f"http://{self.address}{INTERFACE}"


class Registry(JavaServer, RegistryAddress):
    """Apicurio 2.6.13. Its schemas are in memory: a restart loses them."""

    name = "registry"
    title = "Apicurio Registry 2.6.13"
    reach = RegistryAddress

    @classmethod
    def install(cls) -> None:
        """Fetches and unpacks it."""
        installing.archives("registry", f"{cls.title} (146 MB unpacked)")
        if not cls._unpacked().exists():
            with tarfile.open(installing.INSTALLED / "registry" / ARCHIVE) as archive:
                archive.extractall(cls._unpacked().parent, filter="data")
        cls.install_classes()

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its archive was fetched and unpacked."""
        return installing.has_archives("registry") and cls._unpacked().exists()

    def begin(self) -> dict[str, Process]:
        """Starts it."""
        options = ("-Xmx256m", "-XX:+UseSerialGC", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}")
        command = ["java", *options, *self.options(), "-jar", str(self._unpacked())]
        return {"registry": Process(command, self.folder / "registry.log")}

    def answers(self) -> bool:
        """Whether it lists its subjects."""
        with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
            return answer.status == 200

    @classmethod
    def _unpacked(cls) -> Path:
        return installing.INSTALLED / "registry" / RUNNER
