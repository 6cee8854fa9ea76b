"""The headers by which a receiver knows that a post is ours.

Source: the specification of Standard Webhooks,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence


def signed(secrets: Sequence[bytes], identity: str, at: int, body: bytes) -> dict[str, str]:
    """Give the three headers of a post.

    Args:
        secrets: what to sign with; a receiver that knows one of them is content, so they can be exchanged.
        identity: the `webhook-id`, the same for every attempt to hand over the same notification.
        at: when this attempt is made, in seconds since the epoch.
        body: what is posted. These very bytes are signed, whatever they are.
    """
    content = b"%s.%d.%s" % (identity.encode(), at, body)
    digests = (hmac.digest(secret, content, "sha256") for secret in secrets)
    signatures = (f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signatures),
    }
