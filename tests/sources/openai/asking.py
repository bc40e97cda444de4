"""How the tests ask OpenAI's client, unchanged, of a server that speaks its wire format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamhub import sources

from ...support.provider_server import ProviderServer

__all__ = ["KEY", "WAYS", "Clients", "chat", "respond"]

openai = pytest.importorskip("openai")

KEY = "sk-a-secret-of-ours"
#: How an application may hand in what it gets of the client.
WAYS = ["async", "sync", "called", "async helper", "sync helper"]


class Clients:
    """Both of them, asking one server."""

    def __init__(self, provider: ProviderServer) -> None:
        facts: Any = {"api_key": KEY, "base_url": f"{provider.url}/v1", "max_retries": 0}
        # To read all certificates of the machine takes longer than a test.
        quick: Any = openai.DefaultHttpxClient(verify=False)
        aquick: Any = openai.DefaultAsyncHttpxClient(verify=False)
        self.client = openai.OpenAI(**facts, http_client=quick)
        self.aclient = openai.AsyncOpenAI(**facts, http_client=aquick)


def chat(clients: Clients, way: str = "async") -> sources.ProviderStream:
    aclient, client = clients.aclient, clients.client
    asked: dict[str, Any] = {"model": "a-model", "messages": [{"role": "user", "content": "Hi"}]}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: aclient.chat.completions.create(**asked, stream=True),
        "sync": lambda: client.chat.completions.create(**asked, stream=True),
        "called": lambda: lambda: client.chat.completions.create(**asked, stream=True),
        "async helper": lambda: aclient.chat.completions.stream(**asked),
        "sync helper": lambda: client.chat.completions.stream(**asked),
    }
    return sources.openai(ways[way]())


def respond(clients: Clients, way: str = "async") -> sources.ProviderStream:
    aclient, client = clients.aclient, clients.client
    asked: dict[str, Any] = {"model": "a-model", "input": "Hi"}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: aclient.responses.create(**asked, stream=True),
        "sync": lambda: client.responses.create(**asked, stream=True),
        "called": lambda: lambda: client.responses.create(**asked, stream=True),
        "async helper": lambda: aclient.responses.stream(**asked),
        "sync helper": lambda: client.responses.stream(**asked),
    }
    return sources.openai(ways[way]())
