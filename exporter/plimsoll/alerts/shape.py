"""What may be written: presets in the catalogue, and in the user's file alerts, overrides and webhooks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator

from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.alerts.units import UNITS
from plimsoll.alerts.writing import Lines
from plimsoll.config import PlacedError, Section
from plimsoll.config.fields import Duration, LabelName
from plimsoll.config.section import kind, shown

Severity = Literal["critical", "high", "warning", "medium", "low", "info"]
SEVERITIES: tuple[str, ...] = get_args(Severity)
"""The gravest first."""

Category = Literal[
    "disk", "memory", "cpu", "offline", "service_down", "storage", "container", "agent", "meta", "custom"
]
Operator = Literal[">", ">=", "<", "<=", "==", "!="]
UnitName = Literal["percent", "bytes", "seconds", "hours", "dollars", "count"]
Declarers = Literal["postgres", "containers", "engines", "scrape", "any"]

_ANNOTATIONS = ("summary", "description", "threshold", "value", "runbook_url", "dashboard_url")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_URL = re.compile(r"https?://(?:[^\s%\x00-\x20\x7f]|%[0-9a-fA-F]{2})+|\$\{\w+\}.*")
"""Also one that begins with an environment variable which is not resolved, where it does not matter."""
_VARIABLE = re.compile(r"\$\{\w+\}")


def _metric(value: Any) -> str:
    if not isinstance(value, str) or not _METRIC.fullmatch(value):
        raise ValueError(
            "must be the name of a metric; a formula belongs into a recording rule, whose name then stands "
            f"here; is {shown(value)}"
        )
    return value


def _matchers(value: Any) -> Matchers:
    if not isinstance(value, str):
        raise ValueError(f"must be matchers such as '{{datname=\"billing\"}}', is {kind(value)}")  # noqa: TRY004
    return Matchers.parse(value)


def _url(value: Any) -> str:
    """Take it as it is written. It may hold a secret, so it is not shown."""
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ValueError(
            "must be a URL that begins with http:// or https://, without blanks or a % that is no escape"
        )
    if not value.startswith("${") and not _has_address(_VARIABLE.sub("1", value)):
        raise ValueError("must be a URL with a host, in [ ] if it is IPv6, and no port but 1 to 65535")
    return value


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def public_address(url: str) -> str:
    """Give where a program's pages are: neither a password nor a query, and no slash at the end."""
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return address.geturl().rstrip("/")


def _link(value: str) -> str:
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold user:password@, for whoever sees the link could read it")
    return value


def _told_as(value: str) -> str:
    if "#" not in value:
        raise ValueError("must have a # where the number stands")
    return value


def _own_annotation(name: str) -> str:
    if name in _ANNOTATIONS:
        raise ValueError("is set by a key of the alert itself, or by its threshold")
    return name


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


ToldAs = Annotated[str, AfterValidator(_told_as)]
MetricName = Annotated[str, BeforeValidator(_metric)]
SomeMatchers = Annotated[Matchers, BeforeValidator(_matchers)]
OwnAnnotation = Annotated[LabelName, AfterValidator(_own_annotation)]
Url = Annotated[str, BeforeValidator(_url)]
Link = Annotated[Url, AfterValidator(_link)]
"""A URL that everybody may see."""
Text = Annotated[str, AfterValidator(_filled)]
Template = Annotated[str, AfterValidator(Lines)]
"""A text of the catalogue, whose lines end where it reads well."""


class Signal(Section):
    """A series that alerts may judge: its labels, and whose declared labels it keeps."""

    labels: tuple[str, ...]
    declared_by: Declarers


class CompiledSignal(Signal):
    """A signal that embeds numbers which users may change, so that its rule has to be compiled."""

    of: str
    """The alert whose numbers and overrides it follows."""
    over: MetricName
    """The series among which those overrides choose."""
    expr: str
    """PromQL in which `$over`, `$threshold` and `$floor` stand for them."""


class Look(Section):
    """One of the first things to look at, with a text to paste."""

    what: str
    promql: str | None = None
    sql: str | None = None
    shell: str | None = None


class Runbook(Section):
    """What an alert means, and what to look at first."""

    meaning: str
    look: tuple[Look, Look, Look]


class Preset(Section):
    """An alert of the catalogue; numbers are as they are written."""

    summary: Text
    description: Template
    metric: MetricName
    operator: Operator
    threshold: Any
    unit: UnitName
    threshold_as: ToldAs = "#"
    floor: Any = None
    for_: Duration = Field(alias="for")
    severity: Severity
    category: Category
    enabled: StrictBool = True
    value: Template
    annotations: dict[LabelName, Template] = Field(default_factory=dict)
    runbook: Runbook


class Inhibition(Section):
    """While `source` fires for a subject, `hides` say nothing about that one."""

    source: str
    hides: tuple[str, ...]
    subject: str
    why: str


class Dashboard(Section):
    """Where the alerts of a group are looked at."""

    uid: str
    variables: tuple[str, ...]


class Group(Section):
    """A file of the catalogue."""

    dashboard: Dashboard
    signals: dict[MetricName, Signal] = Field(default_factory=dict)
    compiled: dict[MetricName, CompiledSignal] = Field(default_factory=dict)
    alerts: dict[str, Preset]
    inhibitions: tuple[Inhibition, ...] = ()


class Given(Section):
    """A section in which whatever is named has a value: one that was forgotten is no default."""

    @model_validator(mode="before")
    @classmethod
    def _has_values(cls, section: Any) -> Any:
        for key, value in section.items() if isinstance(section, dict) else ():
            if value is None:
                raise PlacedError("must not be empty", key)
        return section


class Change(Given):
    """What an override may change of an alert, for some of its series."""

    threshold: Any = None
    floor: Any = None
    for_: Duration | None = Field(default=None, alias="for")
    severity: Severity | None = None
    webhook: str | None = None
    enabled: StrictBool | None = None


class Override(Change):
    """Other values for the series that `match`."""

    match: SomeMatchers


class Alert(Change):
    """Changes to a preset, or an alert of the user's own."""

    from_: str | None = Field(default=None, alias="from")
    metric: MetricName | None = None
    operator: Operator | None = None
    unit: UnitName | None = None
    threshold_as: ToldAs | None = None
    category: Category | None = None
    summary: Text | None = None
    description: Text | None = None
    value: str | None = None
    annotations: dict[OwnAnnotation, str] | None = None
    runbook_url: Url | None = None
    dashboard_url: Url | None = None
    overrides: tuple[Override, ...] = ()


class Webhook(Given):
    """A receiver. Its secrets are read by the relay only; here it matters whether there are any."""

    url: Url
    secret: Any = None
    secret_file: Any = None
    headers: Any = None
    match: SomeMatchers | None = None
    min_severity: Severity | None = None
    active: StrictBool = True

    @model_validator(mode="after")
    def _signs_what_has_headers(self) -> Webhook:
        if self.headers is not None and not self.is_signed:
            raise PlacedError("are sent by the relay only, so a secret is required", "headers")
        return self

    @property
    def wanted(self) -> Matchers | None:
        """What it is told of, besides alerts that name it; None for nothing."""
        if self.min_severity is None:
            return self.match
        grave = SEVERITIES[: SEVERITIES.index(self.min_severity) + 1]
        matcher = Matcher("severity", "=~", "|".join(grave))
        return Matchers((*(self.match.matchers if self.match else ()), matcher))

    @property
    def is_signed(self) -> bool:
        """Whether it goes through the relay, which signs."""
        return self.secret is not None or self.secret_file is not None


assert set(get_args(UnitName)) == set(UNITS)  # noqa: S101 - two spellings of one list
