"""Responses for upstreams that speak Chat Completions alone: what is asked of them, and what their
answers become. Pure: no I/O, no clock.

>>> asked = chat_request(request, earlier)          # what to POST to /v1/chat/completions
>>> machine = ChatAnswer(new_response(request, response_id, created_at))
>>> events = machine.begin()                        # then, of each chunk, machine.take(chunk)
>>> events += machine.end(done=True)                # the last one has the whole Response
"""

from __future__ import annotations

from .answering import ChatAnswer, chunk_of
from .asking import chat_request
from .folding import ResponseFold
from .items import Untranslatable, input_items, named_responses
from .response import new_response

__all__ = [
    "ChatAnswer",
    "ResponseFold",
    "Untranslatable",
    "chat_request",
    "chunk_of",
    "input_items",
    "named_responses",
    "new_response",
]
