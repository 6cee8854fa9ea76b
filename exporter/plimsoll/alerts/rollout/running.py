"""Asks Prometheus and Alertmanager to read their files again, and what they run then."""

from __future__ import annotations

import abc
import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import aiohttp

from plimsoll.alerts.access import OpenedAccess
from plimsoll.alerts.peer import ANSWER_SECONDS, Peer, PeerError
from plimsoll.alerts.rollout.wanted import RULES_INFO, Wanted, route_tree


class Limits(NamedTuple):
    """How long to wait, in seconds."""

    reload: float = 30.0
    """For the answer to a reload: Prometheus first waits for evaluations that are under way."""
    answer: float = ANSWER_SECONDS
    """For any other answer, and until what was loaded is seen to run."""


class Running(Peer, abc.ABC):
    """A program that is reloaded over HTTP; see `Peer`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        limits: Limits | None = None,
        access: OpenedAccess | None = None,
    ) -> None:
        self._limits = limits or Limits()
        super().__init__(session, url, self._limits.answer, access)

    async def reload(self) -> None:
        """Let it read its files again; it goes on with the former ones when it refuses them.

        Raises:
            PeerError: it refuses, or gives no good answer.
        """
        await self.ask("POST", "/-/reload", self._limits.reload)

    async def see(self, wanted: Wanted) -> None:
        """Wait until it runs a set.

        Raises:
            PeerError: it runs something else, or gives no good answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.answer
        while difference := await self.difference(wanted):
            if loop.time() > deadline:
                raise PeerError(f"{self.url}: {difference}")
            await asyncio.sleep(0.1)

    @abc.abstractmethod
    async def difference(self, wanted: Wanted) -> str:
        """Tell what it runs instead of a set, and the usual cause; nothing when it runs the set.

        Raises:
            PeerError: it gives no good answer.
        """


class Prometheus(Running):
    """Prometheus; it says in its log, not in its answer, why it refuses rules."""

    hints: ClassVar[Mapping[int, str]] = {
        **Peer.hints,
        HTTPStatus.FORBIDDEN: "it must be started with --web.enable-lifecycle",
        HTTPStatus.METHOD_NOT_ALLOWED: "it must be started with --web.enable-lifecycle",
        HTTPStatus.INTERNAL_SERVER_ERROR: "its log and `promtool check rules` say more",
    }

    async def difference(self, wanted: Wanted) -> str:
        """See `Running`; rules count when they are loaded, for their first evaluation can take a minute."""
        files = await self._rule_groups()
        seen = dict(_versions(files))
        if wanted.version not in seen.values():
            return f"{_what_is_run(seen)}, and not {wanted.version}: {self._hint}"
        ours = next(file for file, version in seen.items() if version == wanted.version)
        if others := seen.keys() - {ours}:
            return f"runs a second set of rules beside {ours}: take {min(others)} out of its rule_files"
        folder = ours.rpartition("/")[0]
        lacking = [
            f"{group} of {name}"
            for name, groups in wanted.groups.items()
            for group in sorted(groups - files.get(f"{folder}/{name}".lstrip("/"), {}).keys())
        ]
        return f"lacks the groups {', '.join(lacking)}: {self._hint}" if lacking else ""

    _hint = "does its rule_files list rules/*.yml of the output directory, which is mounted as a whole?"

    async def _rule_groups(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Give the rules by group by file."""
        path = "/api/v1/rules?exclude_alerts=true"  # older ones do not know it, and give the alerts too
        text = await self.ask("GET", path)
        files: dict[str, dict[str, list[dict[str, Any]]]] = {}
        try:
            for group in json.loads(text)["data"]["groups"]:
                files.setdefault(group["file"].lstrip("/"), {})[group["name"]] = group["rules"]
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self.misunderstood("GET", path, text) from None
        return files


class Alertmanager(Running):
    """Alertmanager; its answer says why it refuses a configuration."""

    async def difference(self, wanted: Wanted) -> str:
        """See `Running`; without the hash of the file, receivers and routes are compared."""
        page = await self.ask("GET", "/metrics")
        if match := re.search(r"^alertmanager_config_hash(?:\{[^}]*\})? (\S+)", page, re.MULTILINE):
            same = float(match[1]) == config_hash(wanted.alertmanager)
        else:
            same = await self._route_tree() == route_tree(wanted.alertmanager)
        return "" if same else f"runs another configuration: {self._hint}"

    _hint = (
        "is its --config.file alertmanager/alertmanager.yml of the output directory, "
        "which is mounted as a whole?"
    )

    async def _route_tree(self) -> Any:
        path = "/api/v2/status"
        text = await self.ask("GET", path)
        try:
            return route_tree(json.loads(text)["config"]["original"])
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self.misunderstood("GET", path, text) from None


def config_hash(text: str) -> float:
    """Compute what Alertmanager's metric alertmanager_config_hash is for a file of this text.

    Source: md5HashAsMetricValue in config/coordinator.go of Alertmanager, the same from 0.16 to 0.34.
    """
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return float(int.from_bytes(digest[:6], "little"))


def _versions(files: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, str]]:
    """Give file and version of each set of ours that Prometheus runs."""
    for file, groups in files.items():
        for rule in (rule for rules in groups.values() for rule in rules if rule["name"] == RULES_INFO):
            yield file, (rule.get("labels") or {}).get("version", "")


def _what_is_run(seen: Mapping[str, str]) -> str:
    if not seen:
        return "runs no rules of plimsoll"
    return "runs the rules " + ", ".join(f"{version} of {file}" for file, version in seen.items())
