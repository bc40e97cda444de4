"""A chat for users who have logged in: the views, and where they are."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_POST
from streamhub import Hub, sources
from streamhub.django import acancel_response, astream_response
from streamhub.parts import AnyPart

PAUSE = 0.25  # seconds between two words of the scripted model

# Opens nothing before its first use.
hub = Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"))


async def scripted(question: str) -> AsyncIterator[str]:
    """A model that needs no key, and numbers what it says."""
    for n in range(1, 61):
        yield f"{n}. {question} "
        await asyncio.sleep(PAUSE)


@cache
def client() -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI()


def model(question: str) -> AsyncIterator[str | AnyPart]:
    """The answer to a question, as it comes. Your model goes here."""
    name = os.environ.get("MODEL")
    if name is None:
        return scripted(question)
    asked = [{"role": "user", "content": question}]
    return sources.openai(client().chat.completions.create(model=name, messages=asked, stream=True))


async def session_of(request: HttpRequest, chat: str) -> str:
    """The session of a user's chat. Nobody can name that of another user."""
    user = await request.auser()
    return f"user:{user.pk}:{chat}"


@login_required
async def page(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return render(request, "page.html", {"name": user.get_username()})


@login_required
@require_POST
async def ask(request: HttpRequest, chat: str) -> HttpResponse:
    # Returns at once; the answer goes on without this request.
    await hub.run(await session_of(request, chat), model(request.POST["question"]))
    return HttpResponse(status=204)


@login_required
async def answers(request: HttpRequest, chat: str) -> HttpResponseBase:
    # What was missed, then what comes, then the next answer; the first one, too, once it is asked.
    found = hub.get(await session_of(request, chat), wait=30)
    return await astream_response(request, found, follow_next=True)


@login_required
@require_POST
async def stop(request: HttpRequest, chat: str) -> HttpResponse:
    return await acancel_response(request, hub.get(await session_of(request, chat)))


urlpatterns = [
    path("", page),
    path("accounts/login/", LoginView.as_view()),
    path("chats/<chat>", ask),
    path("chats/<chat>/answers", answers),
    path("chats/<chat>/stop", stop),
]
