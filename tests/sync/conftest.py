"""A sync hub on every store, and what it logs."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator

import pytest

from streamhub.sync import Hub

from .scene import CALM, Logged


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Each store in turn; ``parametrize("url", ["redis"], indirect=True)`` picks one."""
    if request.param == "memory":
        return "memory://"
    address: str = request.getfixturevalue("redis_url")
    return address


@pytest.fixture
def hub(url: str) -> Iterator[Hub]:
    with Hub.from_url(url, config=CALM) as hub:
        yield hub


@pytest.fixture
def elsewhere(url: str, hub: Hub) -> Iterator[Hub]:
    """A second instance; sessions in memory are only seen through the hub that holds them."""
    if url == "memory://":
        yield hub
    else:
        with Hub.from_url(url, config=CALM) as other:
            yield other


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The types of the errors that are logged, as they come."""
    errors: Logged = queue.SimpleQueue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[0]:
                errors.put(record.exc_info[0].__name__)

    handler, logger = Handler(), logging.getLogger("streamhub")
    logger.addHandler(handler)
    yield errors
    logger.removeHandler(handler)
