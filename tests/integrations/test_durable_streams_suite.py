"""The read side of the protocol's own conformance suite (338 tests in 0.3.6), on sessions of a hub.

Not run are the tests of what is not served: the rules of writing (idempotent producers, sequence
numbers, times to live, forks, subscriptions), and content that is no text.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from streamhub import Hub
from streamhub.testing.waiting import patience

from ..http.serving import served
from ..support.durable_setup import SetUp

pytestmark = [pytest.mark.slow, pytest.mark.integrations]

FOLDER = Path(__file__).parents[1] / "browser"

#: What reads, by the groups of the suite and the names of its tests.
READING = (
    "Basic Stream Operations should properly isolate recreated",
    "Read Operations",
    "Long-Poll Operations",
    "HTTP Protocol should (return correct headers on GET|return empty body|read from offset)",
    "Browser Security Headers .*(GET|HEAD|SSE|long-poll|error) ",
    "Content-Type Validation should return stream content-type",
    "HEAD Metadata should",
    "Offset Validation",
    "Protocol Edge Cases .*(immutability|monotonically|offset parameter|unknown query)",
    "Long-Poll Edge Cases",
    "Caching and ETag",
    "Read-Your-Writes",
    "SSE Mode",
    "JSON Mode",
    "(concurrent appends without seq|mixed readers and writers)",
    "HEAD with Stream Closure",
    "Read Closed Streams",
    "Long-poll with Stream Closure",
    "SSE with Stream Closure",
    "offset-now-on-closed-stream",
)
#: What is no text, and what may not be written.
NOT_HERE = ("Fork", "binary", "base64", "reject .*POST", "reject invalid JSON", "reject empty JSON")
COUNT = 107


async def test_the_suite_of_the_protocol_passes(tmp_path: Path) -> None:
    """Each of its tests that reads what can be read here."""
    found = tmp_path / "found.json"
    pattern = f"^(?!.*({'|'.join(NOT_HERE)})).*({'|'.join(READING)})"
    timeout = str(int(patience(60) * 1000))
    async with Hub() as hub, served(SetUp(hub, long_poll=1.0)) as url:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("node"),
            "node_modules/vitest/vitest.mjs",
            *("run", "durable_streams.test.mjs", "--root", ".", "--testNamePattern", pattern),
            *("--sequence.concurrent", "--maxConcurrency", "10"),
            *("--testTimeout", timeout),
            *("--reporter", "json", "--outputFile", str(found)),
            cwd=FOLDER,
            env={**os.environ, "STREAMS_URL": url, "TIMEOUT": timeout},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(patience(120)):
            await process.wait()
    report: dict[str, Any] = json.loads(found.read_bytes())
    tests = [one for file in report["testResults"] for one in file["assertionResults"]]
    failed = [one for one in tests if one["status"] == "failed"]

    assert {} == {one["fullName"]: one["failureMessages"] for one in failed}
    assert COUNT == sum(one["status"] == "passed" for one in tests)
