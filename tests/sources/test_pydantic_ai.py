"""Pydantic AI, unchanged: models behind it speak OpenAI's wire format, or are its own for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamhub import Hub, ProviderFailed, Status, parts, sources
from streamhub.testing.waiting import patience, within

from ..support.provider_server import CUT, STALL, ProviderServer
from ..support.provider_use import drawn
from .completions import answer, calls, chunk, finished

pytest.importorskip("pydantic_ai")

import openai
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, ModelRetry
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

pytestmark = pytest.mark.integrations

OSLO = '{"city": "Oslo"}'


class Weather(BaseModel):
    sky: str


def weather(city: str) -> Weather:
    """The weather of a city."""
    if city == "Atlantis":
        raise ModelRetry("there is no such city")
    if city == "Nowhere":
        raise LookupError("no map")
    return Weather(sky="sunny")


@pytest.fixture
async def agent(provider: ProviderServer) -> AsyncIterator[Any]:
    # To read all certificates of the machine takes longer than a test.
    async with openai.DefaultAsyncHttpxClient(verify=False) as http:
        client = openai.AsyncOpenAI(
            base_url=f"{provider.url}/v1", api_key="sk-a-secret", max_retries=0, http_client=http
        )
        model = OpenAIChatModel("a-model", provider=OpenAIProvider(openai_client=client))
        yield Agent(model, tools=[weather])


@pytest.mark.parametrize("way", ["run_stream_events", "iter"])
async def test_a_run(provider: ProviderServer, agent: Any, way: str) -> None:
    """Each call of the model is a step, with what its tools give; usage adds up."""
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))

    told = await drawn(sources.pydantic_ai(getattr(agent, way)("How is the weather?")))

    assert [
        parts.StartStep(),
        parts.ToolInputStart("c1", "weather"),
        parts.ToolInputDelta("c1", OSLO[:3]),
        parts.ToolInputDelta("c1", OSLO[3:]),
        parts.ToolInputAvailable("c1", "weather", {"city": "Oslo"}),
        parts.ToolOutputAvailable("c1", {"sky": "sunny"}),
        parts.FinishStep(),
        parts.StartStep(),
        "Sun",
        "ny",
        parts.FinishStep(),
        finished(2),
    ] == told


async def test_the_final_text_alone(provider: ProviderServer, agent: Any) -> None:
    """As ``run_stream`` has it."""
    provider.answers(*answer("Sun", "ny"))

    told = await drawn(sources.pydantic_ai(agent.run_stream("How is the weather?")))

    assert "Sunny" == "".join(one for one in told if isinstance(one, str))
    assert parts.StartStep() == told[0]
    assert [parts.FinishStep(), finished()] == told[-2:]


async def test_a_tool_that_is_to_be_called_again(provider: ProviderServer, agent: Any) -> None:
    """What it has to say is an error of the call; one id of two calls is told twice."""
    provider.answers(*calls(("c1", "weather", '{"city": "Atlantis"}')))
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sunny"))

    told = await drawn(sources.pydantic_ai(agent.run_stream_events("How is the weather?")))

    outputs = [
        one for one in told if isinstance(one, parts.ToolOutputError | parts.ToolOutputAvailable)
    ]
    (failed, given) = outputs
    assert isinstance(failed, parts.ToolOutputError)
    assert "there is no such city" in failed.error_text
    assert parts.ToolOutputAvailable("c1", {"sky": "sunny"}) == given
    assert 3 == told.count(parts.StartStep())


async def test_what_a_model_thinks() -> None:
    """Each thought is a part, ended where the answer begins."""

    async def think(messages: Any, info: Any) -> AsyncIterator[Any]:
        yield {0: DeltaThinkingPart(content="Let me")}
        yield {0: DeltaThinkingPart(content=" see")}
        yield "Hi"

    told = await drawn(
        sources.pydantic_ai(Agent(FunctionModel(stream_function=think)).run_stream_events("Hi"))
    )

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning-1"),
        parts.ReasoningDelta("reasoning-1", "Let me"),
        parts.ReasoningDelta("reasoning-1", " see"),
        parts.ReasoningEnd("reasoning-1"),
        "Hi",
        parts.FinishStep(),
    ] == told[:-1]


async def test_calls_that_wait_for_an_approval() -> None:
    """Are asked for when the run ends with them."""

    async def call(messages: Any, info: Any) -> AsyncIterator[Any]:
        yield {0: DeltaToolCall(name="delete", json_args='{"file": "a"}', tool_call_id="c1")}

    agent: Any = Agent(FunctionModel(stream_function=call), output_type=[str, DeferredToolRequests])

    def delete(file: str) -> str:
        """Deletes a file."""
        raise AssertionError(file)

    agent.tool_plain(requires_approval=True)(delete)
    told = await drawn(sources.pydantic_ai(agent.run_stream_events("Delete it")))

    assert [
        parts.ToolInputAvailable("c1", "delete", {"file": "a"}),
        parts.ToolApprovalRequest("c1", "c1"),
        parts.FinishStep(),
    ] == told[-4:-1]


@pytest.mark.parametrize("way", ["run_stream_events", "iter", "run_stream", "iter, closed"])
async def test_a_cancel_hangs_up_on_the_provider(
    provider: ProviderServer, agent: Any, session_id: str, way: str
) -> None:
    """And so does a hub that closes: nobody pays for what nobody reads."""
    provider.answers(*[chunk({"role": "assistant", "content": word}) for word in "ab"], STALL)
    run = getattr(agent, way.partition(",")[0])
    async with Hub() as hub:
        stream = await hub.run(session_id, sources.pydantic_ai(run("Hi")))
        async with stream.subscribe() as chunks:
            await within(anext(chunks))
        if way.endswith("closed"):
            await hub.aclose()
        else:
            assert Status.CANCELLED is await stream.cancel(wait=5)
        assert await asyncio.to_thread(provider.wait_asked().hung_up.wait, patience())


@pytest.mark.parametrize("way", ["run_stream_events", "iter", "run_stream"])
async def test_a_providers_error_has_its_kind(
    provider: ProviderServer, agent: Any, way: str
) -> None:
    """Through the framework's own errors; those of a tool stay what they are."""
    run = getattr(agent, way)
    provider.answers('{"error": {"message": "slow down"}}', status=429)
    with pytest.raises(ProviderFailed, match="slow down") as refused:
        await drawn(sources.pydantic_ai(run("Hi")))
    provider.answers(chunk({"role": "assistant", "content": "Hel"}), CUT)
    with pytest.raises(ProviderFailed) as broken:
        await drawn(sources.pydantic_ai(run("Hi")))
    provider.answers(*calls(("c1", "weather", '{"city": "Nowhere"}')))
    with pytest.raises(LookupError, match="no map"):
        await drawn(sources.pydantic_ai(run("Hi")))

    assert ("rate_limit", "connection") == (refused.value.kind, broken.value.kind)


async def test_what_is_no_run_is_refused(agent: Any, session_id: str) -> None:
    """At once; and one that is not used has asked nobody anything."""
    with pytest.raises(TypeError, match="run_stream_events"):
        sources.pydantic_ai(agent)
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, sources.pydantic_ai(agent.run_stream_events("Hi")))

        assert stream.generation is None
