"""The clients of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ...support.provider_server import ProviderServer
from .asking import Clients


@pytest.fixture
async def clients(provider: ProviderServer) -> AsyncIterator[Clients]:
    opened = Clients(provider)
    yield opened
    opened.client.close()
    await opened.aclient.close()
