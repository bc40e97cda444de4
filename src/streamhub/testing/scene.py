"""The fixtures that all parts of the suite share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from ..config import HubConfig
from ..stores.base import Store
from .backend import Backend

__all__ = ["Scene", "new_generation"]


def new_generation() -> str:
    """A name for a generation that no other has."""
    return str(uuid.uuid4())


class Scene:
    """A session that nobody else uses, and two stores on the data of one backend."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError(
            f"{type(self).__name__} must define the fixture `backend` "
            "that returns a streamhub.testing.conformance.Backend"
        )

    @pytest.fixture
    def session(self) -> str:
        return f"conformance:{uuid.uuid4()}"

    @pytest.fixture
    async def store(self, backend: Backend) -> AsyncIterator[Store]:
        store = backend.open()
        store.configure(HubConfig())
        yield store
        await store.aclose()

    @pytest.fixture
    async def other(self, backend: Backend) -> AsyncIterator[Store]:
        """A second instance on the same data."""
        store = backend.open()
        store.configure(HubConfig())
        yield store
        await store.aclose()
