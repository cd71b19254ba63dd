"""HDFS: a NameNode and a DataNode, both real, reached by WebHDFS."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from servers import installing
from servers.java import QUICK, java
from servers.process import Process, run_once
from servers.server import Address, Server

NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATA_NODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
STATE = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystem*"


class HdfsAddress(Address):
    """HDFS at `url`; anybody may do anything as `user`."""

    user = "squall"

    @property
    def url(self) -> str:
        """`webhdfs://127.0.0.1:19870`."""
        return f"webhdfs://{self.address}"

    @property
    def options(self) -> dict[str, object]:
        """What `fsspec.filesystem("webhdfs", **options)` needs."""
        return {"host": "127.0.0.1", "port": self.port, "user": self.user}


class Hdfs(Server, HdfsAddress):
    """HDFS 3.4.2."""

    name = "hdfs"
    title = "HDFS 3.4.2"
    reach = HdfsAddress
    ports_needed = 5

    @classmethod
    def install(cls) -> None:
        """Fetches its archives."""
        installing.archives("hdfs", f"{cls.title} (104 MB)")

    @classmethod
    def is_installed(cls) -> bool:
        """Whether archives and Java are there."""
        return installing.has_archives("hdfs") and installing.program("java") is not None

    def prepare(self) -> None:
        """Writes the settings, and formats the NameNode."""
        web, rpc, data, data_web, data_rpc = (f"127.0.0.1:{port}" for port in self.ports)
        folder = self.folder
        (folder / "conf").mkdir()
        core = {
            "fs.defaultFS": f"hdfs://{rpc}",
            "hadoop.tmp.dir": folder / "tmp",
            "hadoop.http.staticuser.user": self.user,
        }
        hdfs = {
            "dfs.replication": 1,
            "dfs.namenode.http-address": web,
            "dfs.namenode.rpc-address": rpc,
            "dfs.namenode.name.dir": f"file://{folder}/names",
            "dfs.datanode.data.dir": f"file://{folder}/blocks",
            "dfs.datanode.address": data,
            "dfs.datanode.http.address": data_web,
            "dfs.datanode.ipc.address": data_rpc,
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.client.use.datanode.hostname": "true",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.permissions.enabled": "false",
            "dfs.namenode.safemode.extension": 0,
            "dfs.heartbeat.interval": 1,
        }
        for file, settings in (("core-site.xml", core), ("hdfs-site.xml", hdfs)):
            (folder / "conf" / file).write_text(_xml(settings))
        run_once(self._java(NAME_NODE, "-format", "-nonInteractive"), folder / "format.log")

    def begin(self) -> dict[str, Process]:
        """Starts both."""
        return {
            "NameNode": Process(self._java(NAME_NODE), self.folder / "name-node.log"),
            "DataNode": Process(self._java(DATA_NODE), self.folder / "data-node.log"),
        }

    def answers(self) -> bool:
        """Whether the NameNode has left its safe mode and knows the DataNode; an open port says neither."""
        with urllib.request.urlopen(f"http://{self.address}{STATE}", timeout=2) as answer:
            beans = json.load(answer)["beans"]
        state = {key: value for bean in beans for key, value in bean.items()}
        return state.get("NumLiveDataNodes") == 1 and state.get("FSState") == "Operational"

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = (
            *QUICK,
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "-Djava.net.preferIPv4Stack=true",
            f"-Dhadoop.log.dir={self.folder}",
        )
        return java("256m", installing.INSTALLED / "hdfs", main, *arguments, options=options, before=(self._conf(),))

    def _conf(self) -> Path:
        return self.folder / "conf"


def _xml(settings: dict[str, object]) -> str:
    rows = "".join(f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items())
    return f"<configuration>{rows}</configuration>\n"
