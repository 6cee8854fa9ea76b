"""Every preset of the catalogue is seen to fire and to resolve, through all programs, by a test here."""

from __future__ import annotations

from integration import (
    test_agent_alerts,
    test_container_alerts,
    test_end_to_end,
    test_host_alerts,
    test_meta_alerts,
    test_relay_alerts,
)
from plimsoll.alerts.catalogue import load_catalogue


def test_every_preset_reaches_a_webhook() -> None:
    files = (
        *(test_agent_alerts, test_container_alerts, test_end_to_end),
        *(test_host_alerts, test_meta_alerts, test_relay_alerts),
    )
    told = [name for file in files for name in file.TOLD]
    assert sorted(told) == sorted(load_catalogue().presets)
