"""MariaDB, of the version that the system has."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from types import MappingProxyType

from servers.installing import program
from servers.process import Process, run_once
from servers.server import Address, Server


class MariadbAddress(Address):
    """A database: `user` needs `password`."""

    user = "squall"
    password = "squall-secret"
    database = "squall"

    @property
    def url(self) -> str:
        """As SQLAlchemy has it, with PyMySQL."""
        return f"mysql+pymysql://{self.user}:{self.password}@{self.address}/{self.database}"


class Mariadb(Server, MariadbAddress):
    """MariaDB, which gives up root."""

    name = "mariadb"
    title = "MariaDB"
    reach = MariadbAddress
    programs = MappingProxyType({"mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server"})

    def prepare(self) -> None:
        """Makes the system's tables, and a script that makes user and database at each start."""
        data = self._data()
        data.mkdir()
        grants = (
            f"CREATE DATABASE IF NOT EXISTS {self.database} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'%';\n"
        )
        (self.folder / "grants.sql").write_text(grants)
        if os.geteuid() == 0:
            shutil.chown(data, "nobody", "nogroup")
        options = (f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db")
        command = [program("mariadb-install-db") or "mariadb-install-db", "--no-defaults", *options]
        run_once(command, self.folder / "install.log", as_nobody=True)

    def begin(self) -> dict[str, Process]:
        """Starts it."""
        data = self._data()
        options = {
            "datadir": data,
            "bind-address": "127.0.0.1",
            "port": self.port,
            "socket": data / "socket",
            "init-file": self.folder / "grants.sql",
            "innodb-buffer-pool-size": "32M",
        }
        command = [program("mariadbd") or "mariadbd", "--no-defaults"]
        command += [f"--{name}={value}" for name, value in options.items()]
        return {"mariadbd": Process(command, self.folder / "mariadb.log", as_nobody=True)}

    def answers(self) -> bool:
        """Whether it greets: it does after its script has run."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(2)
            return len(connection.recv(5)) == 5

    def _data(self) -> Path:
        return self.folder / "data"
