"""What scrapes of an exporter share; it watches nothing here."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from plimsoll.serve.exporter import Exporter
from plimsoll.serve.settings import Settings


@pytest.mark.parametrize("openmetrics", [False, True])
async def test_scrapes_that_come_together_share_one_page(openmetrics: bool) -> None:
    exporter = Exporter(Settings)

    one, two = await asyncio.gather(
        *(exporter.scrape(10, openmetrics=openmetrics, compress=True) for _ in range(2))
    )
    later = await exporter.scrape(10, openmetrics=openmetrics, compress=True)

    assert one is two
    assert later is not one, "a collection that is over is not shown again"
    text = gzip.decompress(b"".join(one)).decode()
    assert text.endswith("# EOF\n") == openmetrics
    assert "plimsoll_build_info" in text
    await exporter.stop()
