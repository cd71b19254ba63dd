"""Where the figures of a run go beside its views: nowhere, unless a setting says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from squall.engines.metrics.collect import families
from squall.engines.metrics.families import Family
from squall.engines.metrics.reading import Newest

if TYPE_CHECKING:
    from squall.engines.metrics.otel import Push
    from squall.engines.metrics.prometheus import Endpoint

ADDRESS, OTEL = "metrics.prometheus.address", "metrics.otel"


class Exports:
    """Serves and pushes what a run tells, as its settings say; libraries are imported only for what is on.

    Args:
        resource: what a run is called where it is pushed to.
        stuck: the components with a call that does not return now, and for how long in seconds.

    Threading: other threads only read the newest reading, so that user code that hangs holds nobody up, and someone who
        collects costs the worker nothing.

    Raises:
        ConfigError: `metrics_address`, `extra_missing` or `otel_invalid`.
        ClusterError: `metrics_unserved`.
    """

    def __init__(
        self, settings: Mapping[str, Any], resource: dict[str, str], stuck: Callable[[], Mapping[str, float]]
    ) -> None:
        self._newest = Newest(stuck)
        self._endpoint: Endpoint | None = None
        self._push: Push | None = None
        if settings[ADDRESS] is not None:
            from squall.engines.metrics.prometheus import Endpoint

            self._endpoint = Endpoint(settings[ADDRESS], self._families)
        try:
            if settings[OTEL]:
                from squall.engines.metrics.otel import Push

                self._push = Push(self._families, resource)
        except BaseException:
            self.close()
            raise

    @property
    def urls(self) -> dict[str, str]:
        """Where figures can be fetched."""
        return {} if self._endpoint is None else {"prometheus": self._endpoint.url}

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes an event of the run in."""
        self._newest.take(event)
        if self._push is not None and event["event"] in ("started", "progress", "summary"):
            self._push.know(self._families())

    def complaints(self) -> list[str]:
        """What went wrong with exports since the last call, as lines."""
        return [] if self._push is None else self._push.complaints()

    def close(self) -> None:
        """Ends; what is pushed is pushed a last time."""
        if self._push is not None:
            self._push.close()
        if self._endpoint is not None:
            self._endpoint.close()

    def _families(self) -> Sequence[Family]:
        return families(self._newest.now())
