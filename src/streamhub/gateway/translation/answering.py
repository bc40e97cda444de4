"""The chunks of a chat completion as the events of a Response.

One item is open at a time, but for calls: they stay open until the end, because a server may come
back to one after it has begun the next.

| it says     | nothing is open      | a thought is            | a message is               |
|-------------|----------------------|-------------------------|----------------------------|
| a thought   | begin a thought      | delta                   | end it, begin a thought    |
| text        | begin message, part  | end it, begin message   | delta; end a refusal first |
| a refusal   | begin message, part  | end it, begin message   | delta; end a text first    |
| a call      | begin the call       | end it, begin the call  | end it, begin the call     |
| arguments   | delta of their call  | the same                | the same                   |
| the end     | end all calls, then the Response: ``completed`` or ``incomplete``          |||
| an error    | the error, then the Response: ``failed``                                   |||

Before ``begin`` and after the end it takes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Literal, TypeAlias

from .output import Call, Event, Message, OutputItem, Thought

__all__ = ["ChatAnswer", "chunk_of"]

_State: TypeAlias = Literal["new", "under way", "over"]
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_RATE = "rate_limit_exceeded"
_RATE_WORDS = ("rate_limit", "insufficient_quota", "429")


class ChatAnswer:
    """Gives events without a ``sequence_number``: that belongs to who stores them.

    :param response: what :func:`~streamhub.gateway.translation.new_response` gave.
    """

    def __init__(self, response: dict[str, Any]) -> None:
        self._response = response
        self._state: _State = "new"
        self._items: list[OutputItem] = []
        self._open: Thought | Message | None = None
        #: Of each index: the call that is under way there, and its id if one was told.
        self._calls: dict[object, tuple[Call, object]] = {}
        self._call_ids: set[object] = set()
        self._choice: object = None
        self._reason: str | None = None
        reasoning = response.get("reasoning")
        self._summarises = isinstance(reasoning, Mapping) and bool(reasoning.get("summary"))

    @property
    def is_over(self) -> bool:
        return self._state == "over"

    @property
    def is_complete(self) -> bool:
        """Whether all was said that there is to say: why it stops, and what it has cost."""
        return self._reason is not None and self._response["usage"] is not None

    @property
    def response(self) -> dict[str, Any]:
        """As it stands now, for who takes no events."""
        output = [item.whole() for item in self._items]
        return {**deepcopy(self._response), "output": output}

    def begin(self) -> list[Event]:
        """Before the upstream has said anything."""
        self._expect("new")
        self._state = "under way"
        return [self._whole("response.created"), self._whole("response.in_progress")]

    def take(self, chunk: Mapping[str, Any]) -> list[Event]:
        """What one chunk says; nothing for a chunk after an error."""
        if self._state == "over":
            return []
        self._expect("under way")
        if (error := chunk.get("error")) is not None:
            return self.fail(*_failure(error))
        return list(self._take(chunk))

    def end(self, *, done: bool, at: int | None = None) -> list[Event]:
        """The upstream has ended.

        :param done: whether it has said so, with ``[DONE]``.
        :param at: the time, in seconds since 1970.
        """
        if self._state == "over":
            return []
        if self._reason is None and not done:
            message = "the upstream ended before its answer was finished"
            return self.fail("upstream_broke_off", message)
        if self._reason == "error":
            return self.fail("server_error", "the upstream could not finish its answer")
        stops = _INCOMPLETE.get(self._reason or "")
        status = "incomplete" if stops else "completed"
        events = list(self._close_all(status))
        self._state = "over"
        self._response["status"] = status
        if stops:
            self._response["incomplete_details"] = {"reason": stops}
        else:
            self._response["completed_at"] = at
        return [*events, self._whole(f"response.{status}")]

    def fail(self, code: str, message: str) -> list[Event]:
        """It comes to nothing: what there is stays as it is, unfinished."""
        if self._state == "over":
            return []
        self._state = "over"
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        self._response["status"] = "failed"
        # Few codes may stand in a Response; the event before it tells more.
        known = _RATE if code == _RATE else "server_error"
        self._response["error"] = {"code": known, "message": message}
        told = {"type": "error", "code": code, "message": message, "param": None}
        return [told, self._whole("response.failed")]

    def _expect(self, state: _State) -> None:
        if self._state != state:
            raise RuntimeError(f"the answer is {self._state}, not {state}")

    def _take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        if isinstance(model := chunk.get("model"), str) and model:
            self._response["model"] = model
        if isinstance(tier := chunk.get("service_tier"), str):
            self._response["service_tier"] = tier
        if isinstance(usage := chunk.get("usage"), Mapping):
            self._response["usage"] = _usage(usage)
        for choice in chunk.get("choices") or ():
            index = choice.get("index") or 0
            if self._choice is None:
                self._choice = index
            if index == self._choice:
                yield from self._said(choice.get("delta") or {}, choice.get("logprobs") or {})
                if reason := choice.get("finish_reason"):
                    self._reason = str(reason)

    def _said(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._thinks(delta.get("reasoning_content") or delta.get("reasoning"))
        content = delta.get("content")
        if isinstance(content, list):
            # In blocks, as Mistral's models that think stream it.
            for block in content:
                for thought in block.get("thinking") or ():
                    yield from self._thinks(thought.get("text"))
                yield from self._speaks("output_text", block.get("text"))
        else:
            yield from self._speaks("output_text", content, logprobs.get("content") or ())
        yield from self._speaks("refusal", delta.get("refusal"))
        for note in delta.get("annotations") or ():
            yield from self._cites(note)
        for call in delta.get("tool_calls") or ():
            yield from self._calling(call.get("index"), call.get("id"), call.get("function") or {})
        if isinstance(function := delta.get("function_call"), Mapping):
            yield from self._calling("function", None, function)

    def _thinks(self, text: Any) -> Iterator[Event]:
        if not isinstance(text, str) or not text:
            return
        if not isinstance(self._open, Thought):
            yield from self._close()
            self._open = Thought(self._response["id"], len(self._items), self._summarises)
            self._items.append(self._open)
            yield from self._open.begin()
        yield from self._open.delta(text)

    def _speaks(self, kind: str, text: Any, logprobs: Any = ()) -> Iterator[Event]:
        if not isinstance(text, str) or not text:
            return
        yield from self._message()
        assert isinstance(self._open, Message)
        yield from self._open.delta(kind, text, logprobs)

    def _cites(self, note: Any) -> Iterator[Event]:
        if isinstance(cited := note.get("url_citation"), Mapping):
            yield from self._message()
            assert isinstance(self._open, Message)
            yield from self._open.cite({"type": "url_citation", **cited})

    def _message(self) -> Iterator[Event]:
        if not isinstance(self._open, Message):
            yield from self._close()
            self._open = Message(self._response["id"], len(self._items))
            self._items.append(self._open)
            yield from self._open.begin()

    def _calling(self, index: object, call_id: object, told: Mapping[str, Any]) -> Iterator[Event]:
        name = told.get("name")
        call, known_as = self._calls.get(index, (None, None))
        # Some servers count all calls as the first; some repeat id and name in each delta.
        if call is None or (call_id and known_as and call_id != known_as and name):
            yield from self._close()
            number = len(self._items)
            # Who answers two calls of one id would answer one of them twice.
            given = None if call_id in self._call_ids else call_id
            self._call_ids.add(call_id)
            call = Call(self._response["id"], number, given, name)
            known_as = call_id
            self._items.append(call)
            yield from call.begin()
        self._calls[index] = (call, known_as or call_id)
        yield from call.delta(told.get("arguments"))

    def _close(self, status: str = "completed") -> Iterator[Event]:
        if self._open is not None:
            yield from self._open.end(status)
            self._open = None

    def _close_all(self, status: str) -> Iterator[Event]:
        self._open = None
        left = [item for item in self._items if item.status == "in_progress"]
        for item in left:
            # What was cut short is what was said last.
            yield from item.end(status if item is left[-1] else "completed")

    def _whole(self, kind: str) -> Event:
        return {"type": kind, "response": self.response}


def chunk_of(completion: Mapping[str, Any]) -> dict[str, Any]:
    """A whole completion, of an upstream that does not stream, as one chunk that says it all."""
    choices = []
    for choice in completion.get("choices") or ():
        message = dict(choice.get("message") or {})
        calls = message.get("tool_calls") or ()
        message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
        choices.append({**choice, "delta": message})
    return {**completion, "choices": choices}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    given, made = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    read = usage.get("prompt_tokens_details") or {}
    told = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": told.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or given + made,
    }


def _failure(error: Any) -> tuple[str, str]:
    """Code and message of what stands in the place of a chunk."""
    if not isinstance(error, Mapping):
        return "server_error", str(error)
    words = [str(error[name]) for name in ("code", "type") if error.get(name)]
    limited = any(word in said for word in _RATE_WORDS for said in words)
    code = _RATE if limited else (words or ["server_error"])[0]
    return code, str(error.get("message") or "the upstream gave no reason")
