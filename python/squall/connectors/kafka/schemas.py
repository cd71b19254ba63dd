"""Avro, JSON Schema and Protobuf with a schema registry: what a `KafkaSpout` decodes and a `KafkaSink` encodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from squall.connectors.contract import Unavailable
from squall.connectors.extras import need
from squall.connectors.kafka.client import wrong
from squall.connectors.secrets import resolved
from squall.errors import ConfigError, DeadLetter, Defect, repr_of

EXTRA = "kafka-schemas"
CALL_S = 5.0
"""How long the registry may take for an answer; what it does not answer is asked again, as what waits comes again."""
UNAUTHORIZED, FORBIDDEN = 401, 403


class RegistryAway(Unavailable):
    """The registry, and not Kafka, cannot be reached, or lets nobody in any more. Its text is why.

    Args:
        where: the registry as people know it.
    """

    def __init__(self, where: str, because: str) -> None:
        super().__init__(because)
        self.where = where


@dataclass(frozen=True)
class Schema:
    """What `Avro`, `JsonSchema` and `Protobuf` have in common.

    Args:
        registry: the URL of the schema registry.
        schema: the text of a schema. A sink registers it as `TOPIC-value` and writes by it; without one it writes by
            the newest that the registry has. A spout reads into it; without one each record is as it was written.
        options: of the registry's client: `basic.auth.user.info` (`USER:PASSWORD`), `ssl.ca.location`, …;
            `env:NAME` is the environment's.

    Delivery: while the registry is away records wait; one that does not fit its schema is a dead letter.
    """

    registry: str
    schema: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __deepcopy__(self, _memo: object) -> Schema:
        return self  # it holds no state; a class of Protobuf cannot be copied

    def check(self) -> None:
        """Refuses what cannot be.

        Raises:
            TopologyError: `kafka_option` or `extra_missing`.
        """
        name = type(self).__name__
        need(EXTRA, "fastavro", name)
        if not isinstance(self.registry, str) or urlsplit(self.registry).scheme not in ("http", "https"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong(f"{name} has registry={repr_of(self.registry)}", 'give a URL: registry="http://localhost:8081"')
        if "@" in urlsplit(self.registry).netloc:  # the address is shown in errors
            fix = 'give options={"basic.auth.user.info": "env:NAME"}, where NAME has USER:PASSWORD'
            raise wrong(f"the registry of {name} has a user in its URL", fix)

    def client(self) -> Any:
        """The registry's client."""
        from confluent_kafka.schema_registry import SchemaRegistryClient

        texts = resolved(self.options, type(self).__name__)
        return SchemaRegistryClient({"url": self.registry, "timeout": CALL_S, "max.retries": 0, **texts})

    @property
    def where(self) -> str:
        """The registry as people know it."""
        return f"the schema registry at {self.registry}"

    def look(self, topic: str | None, *, is_key: bool) -> None:
        """Sees whether the registry lets this user in: before the first record, which would wait for it for ever.

        Args:
            topic: whose schema is asked for, be it there or not; None: there are several, or one is not known yet.

        Raises:
            RegistryAway: it does not answer.
            ConfigError: `kafka_registry_refused`.
        """
        subject = f"{topic or 'squall'}-{'key' if is_key else 'value'}"
        client = self.client()
        try:
            client.get_latest_version(subject)
        except Exception as error:
            status = getattr(error, "http_status_code", None)
            if status == FORBIDDEN and topic is None:
                return  # that a user may not see a subject of no use to it says nothing
            if status in (UNAUTHORIZED, FORBIDDEN):
                raise registry_refused(self.where, f"{subject}: {error}") from error
            judged = self._judged(error)
            if isinstance(judged, RegistryAway):
                raise judged from error
            # Else it has answered: that there is no such schema yet, say.

    def decoder(self, *, is_key: bool) -> Callable[[bytes, str], Any]:
        """A function of a record's bytes and its topic."""
        from confluent_kafka.serialization import MessageField, SerializationContext

        part = MessageField.KEY if is_key else MessageField.VALUE
        contexts: dict[str, Any] = {}
        deserialize = self._deserializer(self.client())

        def decode(raw: bytes, topic: str) -> Any:
            context = contexts.get(topic) or contexts.setdefault(topic, SerializationContext(topic, part))
            try:
                return deserialize(raw, context)
            except Exception as error:
                raise self._judged(error) from error

        return decode

    def encoder(self, *, is_key: bool) -> Callable[[Any, str], bytes]:
        """A function of a value and the topic that it is for."""
        from confluent_kafka.serialization import MessageField, SerializationContext

        part = MessageField.KEY if is_key else MessageField.VALUE
        contexts: dict[str, Any] = {}
        serialize = self._serializer(self.client())

        def encode(value: Any, topic: str) -> bytes:
            context = contexts.get(topic) or contexts.setdefault(topic, SerializationContext(topic, part))
            try:
                return serialize(value, context)
            except Exception as error:
                raise self._judged(error) from error

        return encode

    def _conf(self) -> dict[str, bool]:
        return (
            {"auto.register.schemas": True}
            if self.schema
            else {"auto.register.schemas": False, "use.latest.version": True}
        )

    def _deserializer(self, client: Any) -> Callable[[bytes, Any], Any]:
        raise NotImplementedError

    def _serializer(self, client: Any) -> Callable[[Any, Any], bytes]:
        raise NotImplementedError

    def _judged(self, error: Exception) -> Exception:
        """Whether the registry is away, lets nobody in, or the record is to blame."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        seen: BaseException | None = error
        while seen is not None:
            if _is_of_transport(seen):
                return RegistryAway(self.where, str(seen) or type(seen).__name__)
            if isinstance(seen, SchemaRegistryError) and seen.http_status_code >= 500:
                return RegistryAway(self.where, str(seen))
            if isinstance(seen, SchemaRegistryError) and seen.http_status_code in (UNAUTHORIZED, FORBIDDEN):
                return RegistryAway(self.where, f"it lets nobody in: {seen}")
            seen = seen.__cause__ or seen.__context__
        said = " ".join(str(error).split())[:500] or type(error).__name__
        return DeadLetter(f"it does not fit its {type(self).__name__} schema: {said}")


def _is_of_transport(error: BaseException) -> bool:
    """Whether the registry was not reached, or did not answer.

    It is known by its name: by versions the client has its requests from different libraries, of which one is there.
    """
    return any(base.__name__ == "TransportError" for base in type(error).__mro__)


@dataclass(frozen=True)
class Avro(Schema):
    """Avro with a schema registry: a record is a dict. `pip install "squall[kafka-schemas]"`."""

    def _deserializer(self, client: Any) -> Callable[[bytes, Any], Any]:
        from confluent_kafka.schema_registry.avro import AvroDeserializer

        make: Any = AvroDeserializer
        return make(client, self.schema)

    def _serializer(self, client: Any) -> Callable[[Any, Any], bytes]:
        from confluent_kafka.schema_registry.avro import AvroSerializer

        make: Any = AvroSerializer
        return self._made(lambda: make(client, self.schema, conf=self._conf()))

    def _made(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:
            raise schema_invalid(type(self).__name__, error) from error


@dataclass(frozen=True)
class JsonSchema(Schema):
    """JSON Schema with a schema registry: a record is a dict, and is validated."""

    def _deserializer(self, client: Any) -> Callable[[bytes, Any], Any]:
        from confluent_kafka.schema_registry.json_schema import JSONDeserializer

        make: Any = JSONDeserializer
        return make(self.schema, schema_registry_client=client)

    def _serializer(self, client: Any) -> Callable[[Any, Any], bytes]:
        from confluent_kafka.schema_registry.json_schema import JSONSerializer

        make: Any = JSONSerializer
        return make(self.schema, client, conf=self._conf())


@dataclass(frozen=True)
class Protobuf(Schema):
    """Protobuf with a schema registry: a record is a message of the class that protoc made.

    Args:
        message: that class; it is the schema.
    """

    message: Any = None

    def check(self) -> None:
        """Refuses what cannot be.

        Raises:
            TopologyError: `kafka_option` or `extra_missing`.
        """
        super().check()
        need(EXTRA, "google.protobuf", "Protobuf")
        if not hasattr(self.message, "DESCRIPTOR"):
            fix = "give the class that protoc made: Protobuf(registry, message=Order)"
            raise wrong(f"Protobuf has message={repr_of(self.message)}", fix)

    def _deserializer(self, client: Any) -> Callable[[bytes, Any], Any]:
        from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer

        make: Any = ProtobufDeserializer
        return make(self.message, {"use.deprecated.format": False}, client)

    def _serializer(self, client: Any) -> Callable[[Any, Any], bytes]:
        from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

        make: Any = ProtobufSerializer
        return make(self.message, client, {"use.deprecated.format": False})


def registry_refused(where: str, because: str) -> ConfigError:
    """The registry lets nobody in with what was given."""
    fix = 'mend options={"basic.auth.user.info": "env:NAME"}, where NAME has USER:PASSWORD, or what the user may see'
    return ConfigError(Defect("kafka_registry_refused", f"{where} lets nobody in", (("because", because),), fix))


def schema_invalid(kind: str, error: object) -> ConfigError:
    """A schema that is none."""
    message = f"the schema of {kind} cannot be used: {' '.join(str(error).split())[:500]}"
    return ConfigError(Defect("kafka_schema", message, (), "mend the schema, or leave it out to take the registry's"))
