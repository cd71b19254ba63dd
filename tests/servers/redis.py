"""Redis, of the version that the system has."""

from __future__ import annotations

import socket
from types import MappingProxyType

from servers.installing import program
from servers.process import Process
from servers.server import Address, Server


class RedisAddress(Address):
    """Redis: `url` for everybody; `user_url` for one who has to say a password."""

    user = "bob"
    password = "bob-secret"

    @property
    def url(self) -> str:
        """Its database 0, without a password."""
        return f"redis://{self.address}/0"

    @property
    def user_url(self) -> str:
        """The same for `user`."""
        return f"redis://{self.user}:{self.password}@{self.address}/0"


class Redis(Server, RedisAddress):
    """Redis, whose log of changes is on disk before a change is confirmed."""

    name = "redis"
    title = "Redis"
    reach = RedisAddress
    programs = MappingProxyType({"redis-server": "redis-server"})

    def begin(self) -> dict[str, Process]:
        """Starts it."""
        options = {
            "--bind": ["127.0.0.1"],
            "--port": [str(self.port)],
            "--dir": [str(self.folder)],
            "--appendonly": ["yes"],
            "--appendfsync": ["always"],
            "--save": [""],
            "--user": [self.user, "on", f">{self.password}", "~*", "&*", "+@all"],
        }
        command = [program("redis-server") or "redis-server"]
        command += [text for name, values in options.items() for text in (name, *values)]
        return {"redis": Process(command, self.folder / "redis.log")}

    def answers(self) -> bool:
        """Whether it answers a ping; while it reads its log it says that it is loading."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
