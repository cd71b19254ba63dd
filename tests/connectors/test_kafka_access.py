"""Who is let in: passwords and certificates, right and wrong, and that no secret is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from component.conftest import Running, Squall, squall, wait_until
from cryptography.hazmat.primitives import serialization
from servers import Kafka, KafkaAddress
from squall.connectors.kafka import Avro, KafkaSink
from squall.errors import TopologyError

from .kafka_places import Noted, ended, feed

__all__ = ["squall"]

PASSWORD = "scrambled-eggs"


class Guarded(Kafka):
    """Its second listener is encrypted, and asks for a password by SCRAM."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__()
        self._authority = authority

    def prepare(self) -> None:
        """Writes its settings: one certificate, for 127.0.0.1."""
        super().prepare()
        issued = self._authority.issue_cert("127.0.0.1")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        formed = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        certificates = [one.bytes() for one in issued.cert_chain_pems]
        (self.folder / "server.pem").write_bytes(b"".join([key.private_bytes(*formed), *certificates]))
        path = self.folder / "server.properties"
        text = path.read_text().replace("SASL:SASL_PLAINTEXT", "SASL:SASL_SSL").replace("=PLAIN\n", "=SCRAM-SHA-512\n")
        lines = [line for line in text.splitlines() if "PlainLoginModule" not in line and "plain.sasl.jaas" not in line]
        lines += [
            "listener.name.sasl.scram-sha-512.sasl.jaas.config="
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "listener.name.sasl.ssl.keystore.type=PEM",
            f"listener.name.sasl.ssl.keystore.location={self.folder / 'server.pem'}",
        ]
        path.write_text("\n".join(lines) + "\n")

    def add_user(self, name: str, password: str) -> None:
        """Lets somebody in."""
        from confluent_kafka.admin import (
            AdminClient,
            ScramCredentialInfo,
            ScramMechanism,
            UserScramCredentialUpsertion,
        )

        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin: Any = AdminClient({"bootstrap.servers": self.address})
        upsertion = UserScramCredentialUpsertion(name, info, password.encode())
        admin.alter_user_scram_credentials([upsertion])[name].result(30)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guarded, Path]]:
    """The broker, and the file of the authority that it is known by."""
    authority, path = trustme.CA(), tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with Guarded(authority) as server:
        server.add_user("anna", PASSWORD)
        yield server, path


def login(authority: Path | None, password: str) -> dict[str, str]:
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "anna"}
    trusted = {} if authority is None else {"ssl.ca.location": str(authority)}
    return {**given, "sasl.password": password, **trusted}


def told(squall: Squall, run: Running) -> str:
    """All that a run has said to anybody."""
    return run.out + run.err + "".join(path.read_text() for path in squall.state.rglob("*.log*"))


def test_a_password_and_a_certificate(
    squall: Squall, guarded: tuple[Guarded, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = guarded
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    noted, topic, other = Noted(squall, server), server.topic("in"), server.topic("out")
    feed(server, topic, ["a", "b"])
    options = login(authority, "env:KAFKA_PASSWORD")
    given = f"servers={server.sasl_address!r}, options={options!r}"
    text = noted.text(f"KafkaSpout({topic!r}, {given}, group={topic!r}, value='text', fields='value')")
    run = squall.run(text + f'topology.bolt("sink", KafkaSink({other!r}, {given})).shuffle(source)\n')
    assert noted.wait(2, run) == [["a"], ["b"]]
    ended(run)
    again = noted.run(f"KafkaSpout({other!r}, servers=SERVERS, fields='value')", name="again")
    assert noted.wait(4, again)[2:] == [["a"], ["b"]]
    ended(again)
    assert PASSWORD not in told(squall, run)


@pytest.mark.parametrize(
    ("is_trusted", "password", "words"),
    [(True, "guessed-wrongly", "uthentication failed"), (False, PASSWORD, "certificate")],
    ids=["password", "certificate"],
)
def test_who_is_not_let_in_ends_the_run(
    squall: Squall, guarded: tuple[Guarded, Path], is_trusted: bool, password: str, words: str
) -> None:
    server, authority = guarded
    options = login(authority if is_trusted else None, password)
    noted, given = Noted(squall, server), f"servers={server.sasl_address!r}, options={options!r}"
    runs = [
        noted.run(f"KafkaSpout('t', {given})"),
        squall.run(
            noted.text("lambda: iter([1]), outputs=('n',)", name="sink").replace("Note)", f"KafkaSink('t', {given}))")
        ),
    ]
    for run in runs:
        assert run.end() == 1
        said = told(squall, run)
        assert "kafka_refused" in said
        assert words in said
        assert password not in said


def test_reprs_and_refusals_show_no_secret() -> None:
    options: dict[str, Any] = {"sasl.password": "hidden-1", "ssl.key.pem": "hidden-2", "sasl.jaas.config": "hidden-3"}
    assert "hidden" not in repr(KafkaSink("t", servers="b:1", options=options)._access)
    with pytest.raises(TopologyError) as wrong:
        KafkaSink("t", servers="b:1", options={"sasl.password": ["hidden-4"]})  # pyright: ignore[reportArgumentType]
    assert "hidden" not in str(wrong.value)
    with pytest.raises(TopologyError) as refused:
        KafkaSink("t", servers="b:1", value=Avro("http://ann:hidden-5@registry:8081"))
    assert "hidden" not in str(refused.value)
    assert "basic.auth.user.info" in str(refused.value)
    assert "hidden" not in repr(Avro("http://registry:8081", options={"basic.auth.user.info": "ann:hidden-6"}))


@pytest.mark.parametrize("kind", ["spout", "sink"])
def test_broker_that_wants_a_login_and_gets_none_says_why(squall: Squall, kafka: KafkaAddress, kind: str) -> None:
    """It closes the connection, which is no error to the client: the last line of its log tells."""
    noted, given = Noted(squall, kafka), f"servers={kafka.sasl_address!r}"
    if kind == "spout":
        run = noted.run(f"KafkaSpout('t', {given})")
    else:
        text = noted.text("lambda: iter([('a',)]), outputs=('value',)")
        run = squall.run(text + f'topology.bolt("sink", KafkaSink("t", {given})).shuffle(source)\n')
    code = "kafka_unavailable" if kind == "spout" else "sink_unavailable"
    wait_until(lambda: f"code: {code}" in told(squall, run), 60, "the error")
    said = told(squall, run).partition("is not available")[2].partition(f"code: {code}")[0]
    assert "Disconnected: connection closed by peer" in said
    assert "a broker that wants SASL or TLS does so: see security.protocol" in said
