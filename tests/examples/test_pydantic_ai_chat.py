"""The example of a chat with an agent of Pydantic AI, served as its page says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from streamhub.testing.waiting import unhurried

from .services import Services

pytest.importorskip("pydantic_ai")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

SERVE = "uvicorn app:app --port 8000"
ASK = 'curl -X POST "http://localhost:8000/chats/1?question=Weather"'
READ = "curl -N http://localhost:8000/chats/1/answer"
HISTORY = "curl http://localhost:8000/chats/1/history"
STOP = "curl -X POST http://localhost:8000/chats/1/stop"


async def test_an_agent_calls_its_tool_and_remembers(tmp_path: Path) -> None:
    """Each turn is streamed with its tool call, and knows those before it. Of two that are asked at
    once one is refused; one that is stopped is not remembered."""
    changes = {"PAUSE = 0.25": f"PAUSE = {unhurried(0.2)}"}
    chat = Services("pydantic_ai_chat", tmp_path, changes=changes)

    async with chat.served(SERVE):
        assert "null" == await chat.curl(ASK)
        first = await chat.curl(READ)
        async with httpx.AsyncClient() as client:
            url, question = f"{chat.url}/chats/1", {"question": "And now?"}
            asked = await asyncio.gather(*[client.post(url, params=question) for _ in range(2)])
        second = await chat.curl(READ)
        remembered = json.loads(await chat.curl(HISTORY))
        await chat.curl(ASK)
        async with chat.followed("/chats/1/answer") as response:
            while (await response.next()).event != "message":
                pass
            await chat.curl(STOP)
            end = (await response.rest())[-1]
        afterwards = json.loads(await chat.curl(HISTORY))

    for number, told in enumerate((first, second), 1):
        assert '"toolName":"weather"' in told
        assert '"output":"sunny"' in told
        assert f"data: {number}. " in told
    assert [200, 409] == sorted(one.status_code for one in asked)
    prompts = [
        part["content"]
        for message in remembered
        for part in message["parts"]
        if part["part_kind"] == "user-prompt"
    ]
    assert ["Weather", "And now?"] == prompts
    assert "cancelled" in end.data
    assert remembered == afterwards
