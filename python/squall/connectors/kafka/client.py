"""How a broker is reached: settings of the client, secrets, and what its errors mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from squall.connectors.extras import need
from squall.connectors.secrets import resolved
from squall.errors import ConfigError, Defect, TopologyError, repr_of

log = logging.getLogger("squall.connectors.kafka")
clients_log = logging.getLogger("squall.connectors.kafka.librdkafka")
SAME_AGAIN_S = 60.0


class Once(logging.Filter):
    """Lets the same line pass once a minute: while a broker is away librdkafka writes it with each try.

    Bound: 100 lines are remembered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is new."""
        line, now_s = record.getMessage().partition(" (after ")[0], time.monotonic()
        if now_s - self._passed_s.get(line, -SAME_AGAIN_S) < SAME_AGAIN_S:
            return False
        if len(self._passed_s) >= 100:
            self._passed_s.clear()
        self._passed_s[line] = now_s
        return True


clients_log.addFilter(Once())
HIDDEN = "***"
SECRET_WORDS = ("password", "secret", "token", "jaas", ".key.pem", "oauthbearer.config")

Option = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Access:
    """The brokers and how to be let in. Its repr shows no secret.

    Args:
        who: `KafkaSpout` or `KafkaSink`.
        servers: `HOST:PORT`, several with commas.
        options: of librdkafka, by their names; `env:NAME` is the environment's.
    """

    who: str
    servers: str
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])

    def __repr__(self) -> str:
        shown = {name: HIDDEN if is_secret(name) else value for name, value in self.options.items()}
        return f"Access({self.servers!r}, {shown!r})"

    def settings(self, own: Mapping[str, Any], contact: Contact) -> dict[str, Any]:
        """What the client is given.

        Args:
            own: of the spout or sink; the user's options stand before them.
            contact: gets each error that belongs to no message, and the lines of the client's log.

        Raises:
            ConfigError: `secret_missing` or `secret_unusable`.
        """
        texts = resolved({name: value for name, value in self.options.items() if isinstance(value, str)}, self.who)
        return {
            **own,
            **self.options,
            **texts,
            "bootstrap.servers": self.servers,
            "error_cb": contact.heard,
            "logger": contact,
            "client.id": self.options.get("client.id", "squall"),
        }


def is_secret(name: str) -> bool:
    """Whether a setting of this name is shown to nobody."""
    return any(word in name for word in SECRET_WORDS)


def access(who: str, servers: object, options: object, refused: Mapping[str, str]) -> Access:
    """The arguments `servers` and `options`.

    Args:
        refused: options that have an argument of their own, with its name.

    Raises:
        TopologyError: `kafka_option` or `extra_missing`.
    """
    need("kafka", "confluent_kafka", who)
    if not isinstance(servers, str) or not servers.strip():
        raise wrong(f"{who} has servers={repr_of(servers)}", 'name a broker: servers="localhost:9092"')
    given: Mapping[Any, Any] = options if isinstance(options, Mapping) else {None: options}  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool):
            shown = HIDDEN if isinstance(name, str) and is_secret(name) else repr_of(value)
            fix = 'give options={"security.protocol": "SASL_SSL", …}, by the names that librdkafka has'
            raise wrong(f"{who} has an option {repr_of(name)}={shown}", fix)
        if name in refused:
            raise wrong(f'{who} has the option "{name}"', refused[name])
    return Access(who, servers, dict(given))


def wrong(message: str, fix: str) -> TopologyError:
    """An argument that cannot be."""
    return TopologyError(Defect("kafka_option", message, (), fix))


def made(make: Callable[[], Any], access: Access) -> Any:
    """A client.

    Raises:
        ConfigError: `kafka_setting`: librdkafka does not take its settings.
    """
    from confluent_kafka import KafkaException

    try:
        return make()
    except (KafkaException, TypeError, ValueError) as error:
        message = f"{access.who} cannot be made for {access.servers}: {text_of(error)}"
        fix = "mend its options; librdkafka's CONFIGURATION.md lists them"
        raise ConfigError(Defect("kafka_setting", message, (), fix)) from None


def text_of(error: object) -> str:
    """What an error of the client says, in one line."""
    first: Any = error.args[0] if isinstance(error, Exception) and error.args else error
    said = first.str() if hasattr(first, "str") else str(first)
    return " ".join(said.split())[:500] or type(error).__name__


class Contact:
    """Whether a broker can be reached, as the client's errors tell it.

    `refused`: why the brokers let nobody in; `away`: why none can be reached. Both None: all seems well.
    """

    def __init__(self) -> None:
        from confluent_kafka import KafkaError

        self.refused: str | None = None
        self.away: str | None = None
        self.fatal: str | None = None
        self._last: str | None = None
        self._refusals = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}  # pyright: ignore
        self._absences = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}  # pyright: ignore

    def heard(self, error: Any) -> None:
        """Takes an error that the client tells. Any thread."""
        if error.fatal():
            self.fatal = text_of(error)
        if error.code() in self._refusals:
            self.refused = text_of(error)
        elif error.code() in self._absences and (self.away is None or not _says_little(text_of(error))):
            self.away = _hinted(text_of(error))  # the one broker's own says more than that all are down
            self._say_more()
        elif error.code() not in self._absences:
            log.info("event=kafka_said error=%r", text_of(error))

    def log(self, level: int, message: str, *parts: object) -> None:
        """Takes a line of the client's log. Any thread.

        A broker that closes the connection, as one does that wants SASL, is no error to the client, which tells of it
        here alone.
        """
        clients_log.log(level, message, *parts)
        line = message % parts if parts else message
        if line.startswith("FAIL "):
            self._last = _hinted(" ".join(line.rpartition("]: ")[2].split())[:500])
            self._say_more()

    def _say_more(self) -> None:
        """Has the last reason that is known beside that all brokers are down."""
        if self._last is not None and self.away is not None and _says_little(self.away):
            self.away = f"{self.away.partition(': ')[0]}: {self._last}"

    def is_well(self) -> None:
        """A broker has answered."""
        self.refused = self.away = self._last = None


def _hinted(said: str) -> str:
    """With what a closed connection may mean, if the client does not say it."""
    is_closed = "Disconnected" in said and "SSL" not in said
    return f"{said}; a broker that wants SASL or TLS does so: see security.protocol" if is_closed else said


def _says_little(said: str) -> bool:
    return "brokers are down" in said


def unavailable(where: str, because: str) -> Defect:
    """No broker can be reached for now."""
    fix = "nothing is lost: it goes on when one is back; see that it runs, its address, and security.protocol"
    return Defect("kafka_unavailable", f"{where} is not available", (("because", because),), fix)


def uncommitted(where: str, group: str, because: str) -> Defect:
    """No commit is taken, though brokers may give records."""
    fix = "nothing is lost, but a restart would repeat what is not committed; see that the user may read the group"
    message = f'{where} takes no commit of group "{group}"'
    return Defect("kafka_unavailable", message, (("because", because),), fix)


def refused(where: str, because: str) -> ConfigError:
    """The brokers let nobody in with what was given."""
    fix = "mend its options: security.protocol, sasl.mechanism, sasl.username, sasl.password, ssl.ca.location"
    return ConfigError(Defect("kafka_refused", f"{where} lets nobody in", (("because", because),), fix))


def topics_unknown(where: str, missing: list[str], there: list[str]) -> ConfigError:
    """Topics that are not there, or not for this user."""
    names = ", ".join(f'"{name}"' for name in missing)
    shown = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
    facts = (("topics there", shown or "none that this user may see"),)
    fix = "create it, correct its name, or allow the user to describe it"
    return ConfigError(Defect("kafka_topic_unknown", f"{where} has no topic {names}", facts, fix))
