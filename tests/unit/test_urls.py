"""Which URLs a file may name."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from plimsoll.alerts.shape import Link, Url, public_address

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


@pytest.mark.parametrize(
    "url", ["https://kim:hunter2@example.com/", "https://hunter2@[::1]:9093", "http://@a"]
)
def test_a_link_that_everybody_sees_holds_no_password(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Link).validate_python(url)

    (error,) = refused.value.errors()
    assert "must not hold user:password@" in error["msg"]
    assert "hunter2" not in error["msg"]


def test_a_link_may_hold_an_at_sign_elsewhere() -> None:
    url = "https://example.com/~kim@home?to=@ann"
    assert TypeAdapter(Link).validate_python(url) == url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:9093", "http://127.0.0.1:9093"),
        ("https://kim:hunter2@example.com/alerts/", "https://example.com/alerts"),
        ("https://kim:p%40ss@[::1]:9093/?token=hunter2#/silences", "https://[::1]:9093"),
    ],
)
def test_what_may_be_shown_of_an_address(url: str, address: str) -> None:
    assert public_address(url) == address
