"""Signatures: ours are those of the reference library, which also verifies them."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from plimsoll.relay.signing import signed

SECRETS = st.binary(min_size=24, max_size=64)
NEW, OLD, OTHER = (bytes([number]) * 24 for number in range(3))
BODY = '{"groupKey":"größer"}'


@given(secret=SECRETS, identity=st.from_regex(r"msg_[0-9a-f]{32}", fullmatch=True), body=st.text())
def test_signatures_are_the_librarys(secret: bytes, identity: str, body: str) -> None:
    at = int(time.time())

    headers = signed([secret], identity, at, body.encode("utf-8", "replace"))

    sent = body.encode("utf-8", "replace").decode()
    assert headers["webhook-signature"] == Webhook(secret).sign(
        identity, datetime.fromtimestamp(at, UTC), sent
    )
    Webhook(secret).verify(sent, headers, json_parse=False)


def test_the_example_of_the_specification() -> None:
    """Svix, where it comes from, gives these values in its documentation."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    headers = signed([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(secret=SECRETS, body=st.binary())
def test_the_very_bytes_are_signed(secret: bytes, body: bytes) -> None:
    headers = signed([secret], "msg_1", 1700000000, body)

    digest = hmac.new(secret, b"msg_1.1700000000." + body, "sha256").digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("known", [NEW, OLD])
def test_while_secrets_are_exchanged_receivers_with_either_are_content(known: bytes) -> None:
    headers = signed([NEW, OLD], "msg_1", int(time.time()), BODY.encode())

    Webhook(known).verify(BODY, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize(
    ("secret", "changes", "body"),
    [
        (OTHER, {}, BODY),
        (NEW, {}, BODY + " "),
        (NEW, {"webhook-id": "msg_2"}, BODY),
        (NEW, {"webhook-timestamp": str(int(time.time()) - 30)}, BODY),
    ],
)
def test_what_was_changed_is_not_believed(secret: bytes, changes: dict[str, str], body: str) -> None:
    headers = signed([NEW, OLD], "msg_1", int(time.time()), BODY.encode())

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, **changes})
