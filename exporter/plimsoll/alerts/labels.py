"""What labels mean: which are set by whom, and which may be declared."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from plimsoll.config import Document
from plimsoll.config.fields import LabelName

ACCIDENTAL_LABELS = ("instance", "job", "pod", "container", "endpoint", "service", "namespace", "node")
"""Labels of the scrape, which a redeployed exporter changes: signals aggregate them away."""

ALERT_LABELS = ("alertname", "alertstate", "severity", "category", "override")
"""Labels that an alert sets, or its row in the alert table."""

RESERVED_LABELS = frozenset(
    {
        *("server", "datname", "schemaname", "relname", "reason", "collector", "target"),
        *("sql_collector", "query"),
        *("engine", "id", "name", "image", "state", "status", "source", "cpu", "device", "interface"),
        *("receiver", "result", "alert", "fingerprint", "subject", "by", "kind", "url"),
        *ALERT_LABELS,
        *ACCIDENTAL_LABELS,
    }
)
"""Labels that the exporter, the relay, an alert or service discovery sets: nobody else may declare them."""


def _not_reserved(name: str) -> str:
    if name in RESERVED_LABELS:
        raise ValueError("is set by the exporter, by an alert or by service discovery; choose another name")
    return name


OwnLabel = Annotated[LabelName, AfterValidator(_not_reserved)]
"""The name of a label that users declare for series."""

COMPOSE_LABELS = ("com.docker.compose.project", "com.docker.compose.service")
"""Labels of containers that are published unless the user says which."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


def published_name(container_label: str) -> str:
    """Give the name under which a container's label is published: cAdvisor's."""
    return f"container_label_{_NOT_IN_NAMES.sub('_', container_label)}"


def declared_labels(document: Document) -> dict[str, frozenset[str]]:
    """Give the names of labels that users declare, by what they declare them for.

    Sections of others are only glanced at: what is wrong there is told by those who own them.
    """
    servers = _mappings(_mapping(document.unresolved("postgres")).get("servers"))
    engines = _mappings(document.unresolved("containers"))
    scrape = _mapping(document.unresolved("prometheus")).get("labels")
    names = scrape if isinstance(scrape, list) else []
    everywhere = frozenset(name for name in names if isinstance(name, str))
    declared = {
        "scrape": everywhere,
        "postgres": everywhere.union(*(_mapping(server.get("labels")) for server in servers)),
        "engines": everywhere.union(*(_mapping(engine.get("static_labels")) for engine in engines)),
        "containers": everywhere.union(*map(_of_containers, engines or [{}])),
    }
    return {**declared, "any": frozenset().union(*declared.values())}


def _of_containers(engine: dict[str, Any]) -> set[str]:
    published = engine.get("labels", COMPOSE_LABELS)
    names = published if isinstance(published, list | tuple) else ()
    return {
        *(published_name(str(name)) for name in names),
        *_mapping(engine.get("labels_as")),
        *_mapping(engine.get("static_labels")),
    }


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
