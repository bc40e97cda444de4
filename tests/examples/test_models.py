"""Real models in examples that take one: they ask a server that speaks as OpenAI's does."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from streamhub import sources

from ..support.openai_upstream import openai_upstream
from .following import EXAMPLES, loaded

pytest.importorskip("celery")
pytest.importorskip("langchain_openai")
pytest.importorskip("pydantic_ai")

pytestmark = pytest.mark.integrations


def variables(model: str, url: str) -> dict[str, str]:
    return {"MODEL": model, "OPENAI_API_KEY": "a key", "OPENAI_BASE_URL": url}


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("celery_fastapi", "tasks.py"),
        ("deploy", "app.py"),
        ("two_services_cluster", "producer.py"),
    ],
)
async def test_a_real_model_is_asked_to_go_on(
    monkeypatch: pytest.MonkeyPatch, name: str, program: str
) -> None:
    """It is told the question, and after what it was cut off."""
    example = loaded(EXAMPLES / name, program)
    with openai_upstream(says=["lamp ", "turns."]) as upstream:
        for variable, value in variables("a-model", upstream.base_url).items():
            monkeypatch.setenv(variable, value)
        answer = example.model("Why?", "The ")
        said = [one async for one in answer if isinstance(one, str)]
        closed = example.client().close()
        if inspect.isawaitable(closed):
            await closed
    asked = [one["content"] for one in upstream.asked[0].body["messages"]]

    assert "lamp turns." == "".join(said)
    assert "Why?" == asked[0]
    assert asked[1].endswith("The ")


async def test_an_agent_asks_a_real_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of Pydantic AI, which names it by its provider."""
    monkeypatch.chdir(tmp_path)
    with openai_upstream(says=["It ", "is ", "sunny."]) as upstream:
        for variable, value in variables("openai:a-model", upstream.base_url).items():
            monkeypatch.setenv(variable, value)
        example = loaded(EXAMPLES / "pydantic_ai_chat")
        answer = sources.pydantic_ai(example.turn("1", "Weather?"))
        said = [one async for one in answer if isinstance(one, str)]

    assert "It is sunny." == "".join(said)
    assert "a-model" == upstream.asked[0].body["model"]
    assert b"It is sunny." in example.history("1")


async def test_a_graph_asks_a_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of LangGraph: it is told of the tool."""
    example = loaded(EXAMPLES / "langgraph_approval", "agent.py")
    with openai_upstream(says=["Which ", "file?"]) as upstream:
        for variable, value in variables("openai:a-model", upstream.base_url).items():
            monkeypatch.setenv(variable, value)
        graph = example.builder.compile()
        state = await graph.ainvoke({"messages": [("user", "Tidy up.")]})

    assert "Which file?" == state["messages"][-1].content
    (tool,) = upstream.asked[0].body["tools"]
    assert "delete_file" == tool["function"]["name"]
