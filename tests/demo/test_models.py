"""Whom the demo asks: its own server with the OpenAI API, another, or one that is of no use."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from streamhub.demo.conversation import conversation
from streamhub.demo.model_server import MODEL, text_for, tokens

from ..conftest import RunPython, Serve
from ..support.http_server import Port, ServerProcess
from .running_demo import running

pytestmark = pytest.mark.slow

QUESTION = "Why does bread rise?"
KEY = "sk-0123456789-of-mine"
API = "from streamhub.demo.model_server import model_app\napp = model_app(pace=2000)"


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The shipped server on its own, as any OpenAI-compatible one."""
    errors = tmp_path_factory.mktemp("api") / "stderr"
    with Port() as port:
        async with await port.serve(API, errors=errors) as process:
            yield process
    assert "Traceback" not in errors.read_text()


@pytest.fixture(scope="module")
async def client(api: ServerProcess) -> AsyncIterator[AsyncOpenAI]:
    http = DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", http_client=http) as client:
        yield client


async def _said(client: AsyncOpenAI, messages: object) -> list[str]:
    stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    chunks = [chunk async for chunk in stream]
    assert ["stop"] == [
        reason for chunk in chunks if (reason := chunk.choices[0].finish_reason) is not None
    ]
    return [text for chunk in chunks if (text := chunk.choices[0].delta.content)]


@pytest.mark.parametrize("question", [QUESTION, "What is a monad?"])
async def test_the_shipped_server_streams_a_text(client: AsyncOpenAI, question: str) -> None:
    """In many pieces, which the official client understands, and which are the text."""
    pieces = await _said(client, conversation([], question))

    assert text_for(question) == "".join(pieces)
    assert len(pieces) > 300


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
async def test_the_shipped_server_continues_at_the_next_character(
    client: AsyncOpenAI, share: float
) -> None:
    """Given its answer so far, also one that broke off in a word, it says exactly the rest."""
    text = text_for(QUESTION)
    so_far = text[: max(1, int(len(text) * share))]
    pieces = await _said(client, conversation([], QUESTION, so_far))

    assert text == so_far + "".join(pieces)


async def test_the_shipped_server_answers_the_newest_question(client: AsyncOpenAI) -> None:
    """What was said before, even an answer that was stopped, is not gone on with."""
    other = "Tell me about lighthouses."
    pieces = await _said(client, conversation([(QUESTION, text_for(QUESTION)[:99])], other))

    assert text_for(other) == "".join(pieces)


async def test_the_shipped_server_lists_its_model_and_answers_at_once(client: AsyncOpenAI) -> None:
    """What a client may ask besides streams."""
    assert [MODEL] == [model.id async for model in client.models.list()]
    whole = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}]
    )
    assert text_for(QUESTION) == whole.choices[0].message.content


async def test_the_shipped_server_refuses_as_the_real_one_does(client: AsyncOpenAI) -> None:
    """With errors that the official client has names for."""
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await client.chat.completions.create(model="x", messages=[{"role": "user", "content": "?"}])
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model=MODEL, messages=[])


def test_tokens_make_the_text() -> None:
    """The pieces are many, short, and all of the text."""
    text = text_for(QUESTION)
    pieces = tokens(text)

    assert text == "".join(pieces)
    assert all(0 < len(piece) <= 10 for piece in pieces)


async def test_another_api_is_asked(api: ServerProcess) -> None:
    """--openai-url and --model name it; the demo then has no model of its own."""
    url = f"{api.url}/v1"
    async with running("--openai-url", url, "--model", MODEL) as demo:
        session = await demo.ask(QUESTION)
        assert text_for(QUESTION) == (await demo.read(session)).text
        model = (await demo.get("/about"))["model"]
        assert {"name": MODEL, "url": url, "built_in": False} == model
        assert 404 == (await demo.client.get("/v1/models")).status_code
        assert url in demo.introduction


async def test_the_key_comes_from_the_environment_and_stays_there(run_python: RunPython) -> None:
    """It is sent to the API, and shown neither on the page nor in what is printed, even where the
    API repeats it in its refusal."""
    api = await run_python(_STRICT_API)
    url = f"http://127.0.0.1:{await api.line()}/v1"
    env = {"OPENAI_API_KEY": KEY}
    async with running("--openai-url", url, "--model", "m", env=env) as demo:
        session = await demo.ask(QUESTION)
        turn = await demo.becomes(session, lambda turn: turn["status"] == "failed")
        about = (await demo.client.get("/about")).text
        assert f"Bearer {KEY}" == await api.line()
        assert f"the model API at {url} refused (401): no such key: ***" == turn["error"]
        assert KEY not in demo.introduction + about


async def test_an_api_that_is_down_fails_the_answer_with_the_reason() -> None:
    """The stream fails, its readers are told why, and the next question may do better."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with running("--openai-url", url, "--model", "m", "--memory") as demo:
            read = await demo.read(await demo.ask(QUESTION))
            assert read.end is not None
            kind, told = read.end
            assert ("error", "failed") == (kind, told["status"])
            assert f"cannot reach the model API at {url}: Connection refused" == told["error"]
            assert "demo:test:2" == await demo.ask(QUESTION)


async def test_an_unknown_model_fails_the_answer_with_the_reason(api: ServerProcess) -> None:
    """What the API says of it is what the page shows."""
    async with running("--openai-url", f"{api.url}/v1", "--model", "x", "--memory") as demo:
        read = await demo.read(await demo.ask(QUESTION))
    assert read.end is not None
    assert (
        f"the model API at {api.url}/v1 refused (404): The model 'x' does not exist"
        in (read.end[1]["error"])
    )


async def test_an_api_that_dies_in_mid_answer_fails_it(serve: Serve) -> None:
    """What was said stays, and the answer does not pass for a complete one."""
    api = await serve(API.replace("2000", "100"))
    url = f"{api.url}/v1"
    async with running("--openai-url", url, "--model", MODEL, "--memory") as demo:
        session = await demo.ask(QUESTION)
        await demo.becomes(session, lambda turn: turn["chunks"] > 20)
        await api.kill()
        read = await demo.read(session)
    assert text_for(QUESTION).startswith(read.text)
    assert read.end is not None
    assert "failed" == read.end[1]["status"]
    assert f"the model API at {url} broke off: " in read.end[1]["error"]


#: Prints its port, then the Authorization that it is sent, and refuses it.
_STRICT_API = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        given = self.headers["authorization"]
        print(given, flush=True)
        body = json.dumps({"error": {"message": f"no such key: {given.split()[1]}"}}).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
