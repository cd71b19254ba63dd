"""OpenTelemetry: the same figures, pushed by OTLP over HTTP. Where to, how often, with which headers: by `OTEL_*`.

Names, labels and units are those of the Prometheus text, so that a collector that translates gives the same series.
OpenTelemetry has no instrument that takes a ready histogram over, so that of the user is its counters: `_bucket` with
`le`, `_count`, `_sum`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from squall.engines.metrics.families import Family, Kind, Sample
from squall.errors import ConfigError, Defect

LAST_EXPORT_S = 3.0
"""How long the end of a run waits for the last figures to be taken."""
FRESH_S = 0.1
"""How long figures that were put together are used."""
COMPLAIN_EVERY_S = 60.0
LONGEST_COMPLAINT = 300
LOGGER, SILENT = logging.getLogger("opentelemetry"), logging.NullHandler()
UNITS = {"seconds": "s", "bytes": "By", "ratio": "1"}


class Push:
    """Sends the families as long as it is open, and once more at its end.

    Args:
        families: everything that is known now, by name; called on the exporter's own thread.
        resource: attributes of the run; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are stronger.

    Bound: the library keeps nothing that it could not send; one of its complaints a minute is shown.

    Raises:
        ConfigError: `extra_missing`, or `otel_invalid`: the environment says what the exporter does not understand.
    """

    def __init__(self, families: Callable[[], Iterable[Family]], resource: dict[str, str]) -> None:
        self._families = families
        self._instruments: set[str] = set()
        self._by_name: dict[str, Family] = {}
        self._fresh_until_s = 0.0
        self._complaints = _Complaints()
        LOGGER.addHandler(self._complaints)
        LOGGER.propagate = False
        self._provider = _provider(resource)
        self._meter = self._provider.get_meter("squall")

    def know(self, families: Iterable[Family]) -> None:
        """Makes instruments of families that are new."""
        self._fresh_until_s = 0.0
        for family in families:
            for suffix in {_suffix(family, sample) for sample in family.samples}:
                if (name := family.name + suffix) not in self._instruments:
                    self._instruments.add(name)
                    self._instrument(family, suffix)

    def complaints(self) -> list[str]:
        """What the exporter has complained of since the last call."""
        return self._complaints.taken()

    def close(self) -> None:
        """Sends the last figures, if they are taken soon, and ends."""
        shut_down = partial(self._provider.shutdown, timeout_millis=LAST_EXPORT_S * 1e3)
        ending = threading.Thread(target=_quietly, args=(shut_down,), name="otel-end", daemon=True)
        ending.start()
        ending.join(LAST_EXPORT_S)
        LOGGER.removeHandler(self._complaints)
        LOGGER.addHandler(SILENT)  # what still runs has nobody to complain to

    def _instrument(self, family: Family, suffix: str) -> None:
        only_grows = family.kind is Kind.COUNTER or suffix != ""
        make = self._meter.create_observable_counter if only_grows else self._meter.create_observable_gauge
        unit = UNITS.get(family.unit, "") if suffix in ("", "_sum") else ""
        make(family.name + suffix, [partial(self._observe, family.name, suffix)], unit, family.help)

    def _observe(self, name: str, suffix: str, _options: object) -> Iterable[Any]:
        from opentelemetry.metrics import Observation

        if (family := self._now().get(name)) is not None:
            for sample in family.samples:
                if _suffix(family, sample) == suffix:
                    yield Observation(sample.value, dict(sample.labels))

    def _now(self) -> Mapping[str, Family]:
        """The families by name; the same ones for all instruments of a collection."""
        if (now_s := time.monotonic()) >= self._fresh_until_s:
            self._by_name = {family.name: family for family in self._families()}
            self._fresh_until_s = now_s + FRESH_S
        return self._by_name


def _suffix(family: Family, sample: Sample) -> str:
    """What an instrument's name has after the family's; who translates to Prometheus adds `_total` again."""
    return "" if family.kind is Kind.COUNTER else sample.suffix


def _provider(resource: dict[str, str]) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
    except ImportError as error:
        facts = (("missing", str(error.name)),)
        fix = 'pip install "squall[otel]"'
        raise ConfigError(
            Defect("extra_missing", "export to OpenTelemetry wants another package", facts, fix)
        ) from None
    try:
        named = Resource.create({key: value for key, value in resource.items() if not _is_said(key)})
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        return MeterProvider([reader], named, shutdown_on_exit=False)
    except Exception as error:  # the libraries have no class of their own for it
        facts = (("because", f"{type(error).__name__}: {error}"[:500]),)
        fix = "mend the OTEL_… variables of the environment"
        raise ConfigError(Defect("otel_invalid", "export to OpenTelemetry cannot begin", facts, fix)) from error


def _is_said(attribute: str) -> bool:
    """Whether the environment says an attribute of the resource."""
    attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    named = {one.partition("=")[0].strip() for one in attributes}
    return attribute in named or (attribute == "service.name" and bool(os.environ.get("OTEL_SERVICE_NAME")))


def _quietly(shut_down: Callable[[], object]) -> None:
    try:
        shut_down()
    except Exception as error:  # nobody is left to be told otherwise
        LOGGER.warning("the last figures were not sent: %s", error)


class _Complaints(logging.Handler):
    """Keeps what the exporter's threads log until the run's own thread shows it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._newest: str | None = None
        self._shown_s = -COMPLAIN_EVERY_S

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one."""
        self._newest = f"OpenTelemetry: {record.getMessage()}"[:LONGEST_COMPLAINT]

    def taken(self) -> list[str]:
        """The newest, if none was shown lately."""
        if self._newest is None or time.monotonic() < self._shown_s + COMPLAIN_EVERY_S:
            return []
        self._shown_s = time.monotonic()
        newest, self._newest = self._newest, None
        return [newest]
