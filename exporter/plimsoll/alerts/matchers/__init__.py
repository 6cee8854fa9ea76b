"""PromQL's matchers, such as `{datname="billing"}`: read, shown, and compared with each other.

Two things are asked about lists of matchers: can a series fit both, and does one fit whatever the other
fits? Both answers are yes or "not certain", and a yes holds for Prometheus 2, where `.` in a regular
expression matches no newline, for Prometheus 3, where it does, and for Alertmanager, where it does not.
"""

from plimsoll.alerts.matchers.matcher import Matcher
from plimsoll.alerts.matchers.several import Matchers

__all__ = ["Matcher", "Matchers"]
