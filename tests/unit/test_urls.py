"""Which URLs a file may name."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from plimsoll.alerts.shape import Url

URL: TypeAdapter[str] = TypeAdapter(Url)


@pytest.mark.parametrize(
    "url",
    [
        "http://alertmanager:9093",
        "https://user:a%2Fb@[::1]:65535/path?port=99999#[",
        "https://${HOST}:${PORT}/${PATH}",
        "${URL}",
        "${URL}:99999/path",
        "https://größe.example/",
    ],
)
def test_a_good_one_is_left_as_it_is_written(url: str) -> None:
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("alertmanager:9093", "http://"),
        ("https://a b/hunter2", "blanks"),
        ("https://example.com/100%hunter2", "escape"),
        ("https://example.com:99999/hunter2", "port"),
        ("https://example.com:0/hunter2", "port"),
        ("https://example.com:hunter2/", "port"),
        ("https://[::1/hunter2", "IPv6"),
        ("https://[hunter2]/", "IPv6"),
        ("https:///hunter2", "host"),
        ("https://:9093/hunter2", "host"),
        ("https://hunter2@/", "host"),
        ("https://${HOST}:99999/hunter2", "port"),
    ],
)
def test_a_bad_one_is_refused_and_not_shown(url: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        URL.validate_python(url)

    (error,) = refused.value.errors()
    assert reason in error["msg"]
    assert "hunter2" not in error["msg"]
