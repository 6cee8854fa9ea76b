"""Prometheus, which knows what fires, and from when to when it did."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, NamedTuple

import aiohttp

from plimsoll.alerts.access import OpenedAccess
from plimsoll.alerts.peer import ANSWER_SECONDS, Peer, PeerError
from plimsoll.relay.lives.runs import Run, chunks, join, split
from plimsoll.relay.sources.sent import Sent
from plimsoll.relay.times import read_time

_QUERY = "/api/v1/query"
_RUNTIME = "/api/v1/status/runtimeinfo"
_CONFIG = "/api/v1/status/config"

_LONGEST = timedelta(minutes=15)
"""The time that one query looks back over. A thousand alerts that fire all the time make an answer of 1 MB,
which keeps whatever else this process does waiting for a tenth of a second."""

_QUERY_SECONDS = 60.0
"""How long the answer to a query may take, which may be large."""

TOLERANCE = 300.0
"""Seconds: Prometheus, too, takes a series to go on for so long after a sample (`--query.lookback-delta`)."""

Labels = Mapping[str, str]


class Shown(NamedTuple):
    """The alerts that Prometheus' rules find now, as the labels that Alertmanager sees, each once."""

    firing: tuple[Labels, ...]
    pending: tuple[Labels, ...]


class _Series(NamedTuple):
    labels: dict[str, str]
    times: tuple[float, ...]
    """Of its samples, where a range was asked for."""


class Prometheus(Peer):
    """Prometheus; see `Peer`.

    What it says of alerts is read off the series ALERTS, so that what was federated from another Prometheus
    counts too. After a restart that series lasts for as long as the last sample counts, 5 minutes.
    """

    hints: ClassVar[Mapping[int, str]] = {
        **Peer.hints,
        HTTPStatus.UNPROCESSABLE_ENTITY: "--query.max-samples bounds what a query may read, and an agent "
        "answers none",
        HTTPStatus.SERVICE_UNAVAILABLE: "it is starting or too busy: see its /-/ready and --query.timeout",
    }

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        seconds: float = ANSWER_SECONDS,
        access: OpenedAccess | None = None,
    ) -> None:
        super().__init__(session, url, seconds, access)
        self._sent: tuple[str, Sent] | None = None

    async def now(self) -> Shown:
        """Give what fires and what is pending.

        Raises:
            PeerError: it cannot be asked, or knows a part only.
        """
        sent = await self.sent()
        series = [each.labels for each in await self._query("ALERTS")]

        def in_state(state: str) -> tuple[Labels, ...]:
            return _distinct(sent.seen(labels) for labels in series if labels.get("alertstate") == state)

        return Shown(in_state("firing"), in_state("pending"))

    async def runs(self, since: datetime, until: datetime, tolerance: float = TOLERANCE) -> list[Run]:
        """Give the runs of all alerts that fired in a time, cut to it, the earliest first.

        Nothing tells a break in firing from one in which Prometheus did not run; both break a run if they are
        longer than the tolerance.

        Args:
            since: its begin.
            until: its end; where Prometheus' clock is behind, it just has no samples yet.
            tolerance: seconds without a sample that do not break a run. With less than the interval at which
                rules are evaluated, each sample is a run of its own.

        Raises:
            PeerError: it cannot be asked, or knows a part only.
        """
        sent = await self.sent()
        runs: list[Run] = []
        for start, end in chunks(since, until, _LONGEST):
            length = math.ceil((end - start) / timedelta(milliseconds=1))
            for series in await self._query(f'ALERTS{{alertstate="firing"}}[{length}ms]', end):
                labels = sent.seen(series.labels)
                runs += (Run(labels, *span) for span in split(series.times, tolerance))
            runs = join(runs, tolerance)
        return runs

    async def started_at(self) -> datetime:
        """Say when it was started.

        Raises:
            PeerError: it gives no good answer.
        """
        text = await self.ask("GET", _RUNTIME)
        try:
            return read_time(json.loads(text)["data"]["startTime"])
        except (LookupError, TypeError, ValueError):
            raise self.misunderstood("GET", _RUNTIME, text) from None

    async def sent(self) -> Sent:
        """Say what it does to labels before Alertmanager sees them, as long as its configuration is the same.

        Raises:
            PeerError: it gives no good answer.
        """
        text = await self.ask("GET", _CONFIG)
        if self._sent is None or self._sent[0] != text:
            try:
                self._sent = (text, Sent.read(json.loads(text)["data"]["yaml"]))
            except (LookupError, TypeError, ValueError):
                raise self.misunderstood("GET", _CONFIG, text) from None
        return self._sent[1]

    @property
    def ignored(self) -> tuple[str, ...]:
        """What it does to labels on their way that is not followed, as far as it is known: see `Sent`."""
        return self._sent[1].ignored if self._sent else ()

    async def _query(self, expression: str, at: datetime | None = None) -> list[_Series]:
        time = {} if at is None else {"time": f"{at.timestamp():.3f}"}
        text = await self.ask("POST", _QUERY, _QUERY_SECONDS, form={"query": expression, **time})
        try:
            answer = json.loads(text)
            found = [
                _Series(dict(entry["metric"]), tuple(float(time) for time, _ in entry.get("values", ())))
                for entry in answer["data"]["result"]
            ]
            warnings = "; ".join(answer.get("warnings") or ())
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self.misunderstood("POST", _QUERY, text) from None
        if warnings:
            raise PeerError(f"{self.url}: its answer to {expression} may lack something: {warnings}")
        return found


def _distinct(alerts: Iterable[Labels]) -> tuple[Labels, ...]:
    return tuple({frozenset(labels.items()): labels for labels in alerts}.values())
