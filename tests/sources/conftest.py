"""A scripted provider for the tests of sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.provider_server import ProviderServer, provider_server


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with provider_server() as server:
        yield server
