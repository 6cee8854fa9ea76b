"""Moves what a Prometheus has stored elsewhere, as its remote_write would have done.

That is Prometheus' `prompb.WriteRequest`, which Snappy compresses, here as literals only. Unlike what
`vmctl` imports, it says where series end.
"""

from __future__ import annotations

import json
import math
import re
import struct
import urllib.request
from collections.abc import Iterator
from functools import cache
from itertools import groupby, islice
from pathlib import Path

from plimsoll.demo.service import Service
from support import require_program, said_by

_LABEL = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')
_ENDED = struct.pack("<Q", 0x7FF0000000000002)
"""The value that marks the end of a series; `promtool tsdb dump` writes it as any other that is no number."""
_MOST_SERIES = 1000
"""Of a request."""
_MOST_BYTES = 1 << 16
"""Of a literal."""


def copy_samples(data: Path, receiver: Service) -> None:
    """Write all that stands in the folder of a Prometheus that does not run to `/api/v1/write`."""
    stored = _stored(data)
    while request := b"".join(islice(stored, _MOST_SERIES)):
        _post(receiver, request)


def _stored(data: Path) -> Iterator[bytes]:
    """Give a message `TimeSeries` for each, in the field that a request has for it."""
    lines = said_by(require_program("promtool"), "tsdb", "dump", data).splitlines()
    for labels, samples in groupby((line.rsplit(" ", 2) for line in lines), key=lambda parts: parts[0]):
        series = b"".join(_label(name, json.loads(value)) for name, value in _LABEL.findall(labels))
        series += b"".join(_sample(float(value), int(at)) for _, value, at in samples)
        yield _field(1, series)


def _label(name: str, value: str) -> bytes:
    return _field(1, _field(1, name.encode()) + _field(2, value.encode()))


def _sample(value: float, at: int) -> bytes:
    number = _ENDED if math.isnan(value) else struct.pack("<d", value)
    return _field(2, b"\x09" + number + b"\x10" + _varint(at))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


@cache
def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _post(receiver: Service, message: bytes) -> None:
    parts = (message[start : start + _MOST_BYTES] for start in range(0, len(message), _MOST_BYTES))
    literals = (b"\xf4" + struct.pack("<H", len(part) - 1) + part for part in parts)
    body = _varint(len(message)) + b"".join(literals)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{receiver.url}/api/v1/write", body, headers)
    urllib.request.urlopen(request, timeout=60).close()
