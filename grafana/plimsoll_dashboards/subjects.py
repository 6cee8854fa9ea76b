"""What an alert is about, whatever kind of alert it is: the labels that tell it from others of its name.

A table of all kinds would need two dozen columns for them, most of them empty. Here they become one label
that people can read, and Alertmanager too: as matchers.
"""

from __future__ import annotations

from plimsoll_dashboards.links import at_alertmanager
from plimsoll_dashboards.matchers import extended

_OF_PRESETS = (
    *("server", "datname", "schemaname", "relname", "agent"),
    *("engine", "name"),
    *("instance", "job", "device", "mountpoint", "fstype"),
    *("collector", "target", "integration", "receiver_name", "receiver", "source", "url"),
    *("alert", "fingerprint", "subject", "by"),
)
LABELS = (*_OF_PRESETS, "organization", "environment", "cluster", "region", "team")
"""Those of the presets, in the order in which they are read, and some that targets often declare."""

_KNOWN_OTHERWISE = (
    *("alertname", "severity", "category", "override", "alertgroup"),
    *("container_label_com_docker_compose_project", "container_label_com_docker_compose_service"),
)
"""What an alert may have besides, and does not differ in from another with the same LABELS and name."""

SUBJECT = ", ".join(LABELS)
"""For `by (…)`."""

OF_PRESETS = ", ".join(_OF_PRESETS)
"""For `on (…)`, where one side may lack, or have, what a target or Prometheus itself declares."""


def described(alerts: str) -> str:
    """Give alerts the label `about`, which has all of LABELS that are there as matchers, or the name.

    CollectorFailing may be about a server or about one of its databases: where it names none, that is said,
    so that a silence for the server does not hold for its databases.
    """
    expression = alerts
    for name in LABELS:
        expression = extended(expression, "about", name, f'$1, {name}="$2"', own="(.+)")
    whole_server = {"so_far": "(.*, collector=.*)", "own": ""}
    expression = extended(expression, "about", "datname", '$1, datname=""', **whole_server)
    expression = extended(expression, "about", "alertname", ', alertname="$1"', so_far="")
    return f"label_replace({expression},\n'about', '$1', 'about', '(?s), (.*)')"


def known(alerts: str) -> str:
    """Give those alerts that LABELS name wholly: that have no labels which this page knows nothing of."""
    return f"({alerts} and group by ({', '.join(_KNOWN_OTHERWISE)}, {SUBJECT}) ({alerts}))"


def silence(form: str = "${__value.raw}") -> str:
    """Give the address that silences the alert in a row of a table with the columns `alertname` and `about`.

    Args:
        form: the page of Alertmanager; unless given, the value of the column `form`, which the link is on.
    """
    matchers = (
        "alertname%3D%22${__data.fields.alertname:percentencode}%22%2C${__data.fields.about:percentencode}"
    )
    return at_alertmanager(form, matchers)
