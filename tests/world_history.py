"""The history in the world that dashboards are tested on: what fired in the last weeks, and who was told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from plimsoll.demo.history import shipped_rule
from plimsoll.relay.history.migrating import migrate

TABLES = ("subject", "alert", "delivery")


HOUR, DAY = 60, 24 * 60

KINDS = {"main": "server", "local": "engine", "db2:9100": "host"}
"""Of what alerts are about."""


class Former(NamedTuple):
    """An alert that has resolved: times in minutes, the first before now, the others after the first."""

    alertname: str
    subject: str
    more: Mapping[str, str]
    """Labels beside those of its alert and its subject."""
    ago: float
    taken: float | None
    lasted: float
    by: str = "ann"

    @property
    def kind(self) -> str:
        return KINDS[self.subject]

    @property
    def severity(self) -> str:
        return shipped_rule(self.alertname).labels["severity"]

    @property
    def category(self) -> str:
        return shipped_rule(self.alertname).labels["category"]

    @property
    def labels(self) -> dict[str, str]:
        about = {"server": "server", "engine": "engine", "host": "instance"}[self.kind]
        own = {"alertname": self.alertname, "severity": self.severity, "category": self.category}
        return {**own, about: self.subject, **self.more, "organization": "acme"}


FORMER = (
    Former("DatabaseGrowthHigh", "main", {"datname": "shop"}, 2 * DAY, 10, 90),
    Former("DatabaseGrowthHigh", "main", {"datname": "shop"}, 5 * DAY, 30, 300),
    Former("DatabaseGrowthHigh", "main", {"datname": "shop"}, 9 * DAY, None, 20),
    Former("DatabaseSizeCritical", "main", {"datname": "shop"}, 3 * DAY, 2, 40),
    Former("PostgresUnreachable", "main", {}, 6 * HOUR, 4, 12),
    Former("ContainerDown", "local", {"name": "crashed"}, 8 * HOUR, None, 6),
    Former("ContainerDown", "local", {"name": "ill"}, 4 * DAY, 20, 60, "bob"),
    Former("ContainerCpuHigh", "local", {"name": "shop-web-1"}, 20 * DAY, None, 45),
    Former("HostDiskFilling", "db2:9100", {"mountpoint": "/srv"}, 12 * HOUR, 15, 120, "bob"),
    Former("AgentCostHigh", "main", {"agent": "full"}, 10 * HOUR, None, 30),
)
"""The same alert three times is the most frequent one."""

RESULTS = ("delivered", "refused", "redirected", "throttled", "failed", "timeout", "unreachable")
_STATUS = {"delivered": 204, "refused": 403, "redirected": 301, "throttled": 429, "failed": 503}
RECEIVERS = ("default", "pager")

_ALERT = """
INSERT INTO plimsoll.alert (
    subject_id, fingerprint, organization, category, alertname, severity, status, title, message,
    threshold, actual_value, labels, created_at, acknowledged_at, acknowledged_by, acknowledged_comment,
    acknowledged_until, resolved_at, auto_resolved, last_seen_at, updated_at
)
SELECT id, %(fingerprint)s, 'acme', %(category)s, %(alertname)s, %(severity)s, 'resolved', %(title)s,
    'It was so.', '20', '30', %(labels)s::jsonb, %(began)s, %(taken)s, %(by)s, %(comment)s, %(until)s,
    %(ended)s, %(by)s::text IS NULL, %(ended)s, %(ended)s
FROM plimsoll.subject WHERE kind = %(kind)s AND name = %(subject)s
"""
_DELIVERY = """
INSERT INTO plimsoll.delivery
    (receiver, webhook_id, fingerprints, result, http_status, duration_seconds, attempted_at)
VALUES (%s, %s, '{}', %s, %s, %s, %s)
"""


def migrated(dsn: str) -> None:
    """Make the schema, as a relay does when it starts."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await migrate(connection)

    asyncio.run(run())


def invent(dsn: str) -> None:
    """Write what a relay would have written; it finds that the past has been looked through until now."""
    now = datetime.now(UTC)
    with psycopg.connect(dsn) as session:
        for former in FORMER:
            session.execute(
                "INSERT INTO plimsoll.subject (kind, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (former.kind, former.subject),
            )
            session.execute(_ALERT, _row(former, now))
        for row in _deliveries(now):
            session.execute(_DELIVERY, row)
        session.execute("UPDATE plimsoll.progress SET covered_until = now()")


def _row(former: Former, now: datetime) -> dict[str, Any]:
    began = now - timedelta(minutes=former.ago)
    taken = began + timedelta(minutes=former.taken) if former.taken is not None else None
    return {
        "alertname": former.alertname,
        "severity": former.severity,
        "category": former.category,
        "kind": former.kind,
        "subject": former.subject,
        "fingerprint": f"{former.alertname}-{former.more}",
        "title": f"{former.alertname} happened",
        "labels": json.dumps(former.labels),
        "began": began,
        "taken": taken,
        "by": former.by if taken else None,
        "comment": "ACK! on it" if taken else None,
        "until": taken and taken + timedelta(hours=8),
        "ended": began + timedelta(minutes=former.lasted),
    }


def _deliveries(now: datetime) -> Iterator[tuple[Any, ...]]:
    """Give twenty delivered notifications to each receiver, and to the pager one of each failure."""
    for receiver in RECEIVERS:
        for number in range(20):
            at = now - timedelta(hours=1 + 6 * number)
            yield receiver, f"msg_{receiver}_{number}", "delivered", 204, 0.02, at
    for number, result in enumerate(RESULTS[1:]):
        at = now - timedelta(hours=2 + number)
        yield "pager", f"msg_{result}", result, _STATUS.get(result), 0.5, at


def saved(dsn: str, folder: Path) -> None:
    """Save the rows to files."""
    folder.mkdir()
    with psycopg.connect(dsn) as session:
        for table in TABLES:
            statement = sql.SQL("COPY plimsoll.{} TO STDOUT").format(sql.Identifier(table))
            with session.cursor().copy(statement) as copy:
                (folder / table).write_bytes(b"".join(bytes(part) for part in copy))


def restored(dsn: str, folder: Path) -> None:
    """Make the schema in an empty database, with the rows that were saved."""
    migrated(dsn)
    with psycopg.connect(dsn) as session:
        for table in TABLES:
            statement = sql.SQL("COPY plimsoll.{} FROM STDIN").format(sql.Identifier(table))
            with session.cursor().copy(statement) as copy:
                copy.write((folder / table).read_bytes())
