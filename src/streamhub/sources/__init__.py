"""What streams elsewhere, as sources of ``hub.run``: models of all providers, and agents.

A source yields the model's text as ``str``, and all else that it says as ``streamhub.parts``::

    await hub.run("chat:1", sources.openai(client.chat.completions.create(…, stream=True)))

Nothing of a provider is imported here: its events are told by what they hold.
"""

from __future__ import annotations

from .langchain_stream import langchain
from .langgraph_stream import langgraph
from .mcp_tool import mcp
from .pydantic_ai_run import pydantic_ai
from .source import ProviderStream, Translator

__all__ = [
    "ProviderStream",
    "Translator",
    "anthropic",
    "google_genai",
    "langchain",
    "langgraph",
    "litellm",
    "mcp",
    "openai",
    "pydantic_ai",
]


def anthropic(response: object) -> ProviderStream:
    """What a message streams, of Anthropic's client.

    :param response: what ``messages.create(stream=True)`` or ``messages.stream()`` of
        ``AsyncAnthropic`` or ``Anthropic`` returns, as for :func:`openai`.
    :raises TypeError: it is none of these.
    """
    from .anthropic_messages import AnthropicMessages

    return ProviderStream(response, AnthropicMessages())


def google_genai(response: object) -> ProviderStream:
    """What a Gemini model streams, of Google's client. Of several candidates: the first.

    :param response: what ``aio.models.generate_content_stream()`` or
        ``models.generate_content_stream()`` of ``google.genai.Client`` returns, or
        ``send_message_stream()`` of its chats, as for :func:`openai`.
    :raises TypeError: it is none of these.
    """
    from .gemini import Gemini

    return ProviderStream(response, Gemini())


def litellm(response: object) -> ProviderStream:
    """What LiteLLM streams of any model, as a chat completion or a response.

    :param response: what ``acompletion(stream=True)`` or ``completion(stream=True)`` returns, or
        ``aresponses`` or ``responses``, as for :func:`openai`.
    :raises TypeError: it is none of these.
    """
    from .openai_client import OpenAI

    return ProviderStream(response, OpenAI())


def openai(response: object) -> ProviderStream:
    """What a chat completion or a response streams, of OpenAI's client or of another one that
    speaks like it.

    Several choices: the first is streamed. Usage is told where the request asks for it:
    ``stream_options={"include_usage": True}``.

    :param response: what the client returns, not awaited and not entered, of ``AsyncOpenAI`` or
        ``OpenAI``: by ``chat.completions.create(stream=True)``, ``responses.create(stream=True)``
        or ``responses.stream()``. Or a function without parameters that returns it, which is called
        in a thread: so the request of a sync client holds nobody, and is made by who has the
        session alone.
    :raises TypeError: it is none of these.
    """
    from .openai_client import OpenAI

    return ProviderStream(response, OpenAI())
