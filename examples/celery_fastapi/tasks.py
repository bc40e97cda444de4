"""The worker: an answer is a task, and streams into the session of its name."""

import os
import time
from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Any

import streamhub.celery
from celery import Celery
from streamhub import Hub, HubConfig, sources

PAUSE = 0.25  # seconds between two words of the scripted model
LEASE = 5.0  # seconds after which it shows that a worker was killed

URL = os.environ.get("STREAMHUB_URL", "redis://localhost:6379/0")
app = Celery("answers", broker=URL)
# Redis hands a task out again whose worker has not been heard of for so long. Give it more than
# your longest answer: one that is handed out meanwhile is not produced twice, but a worker waits.
app.conf.broker_transport_options = {"visibility_timeout": 900}
app.conf.worker_prefetch_multiplier = 1
app.conf.task_ignore_result = True


def open_hub() -> Hub:
    return Hub.from_url(URL, config=HubConfig(lease=LEASE))


def scripted(question: str, said: str) -> Iterable[str]:
    """A model that needs no key, and numbers what it says."""
    for n in range(said.count(question) + 1, 61):
        yield f"{n}. {question} "
        time.sleep(PAUSE)


@cache
def client() -> Any:
    from openai import OpenAI

    return OpenAI()


def model(question: str, said: str) -> Iterable[str] | AsyncIterator[Any]:
    """What is to be said after ``said``. Your model goes here."""
    name = os.environ.get("MODEL")
    if name is None:
        return scripted(question, said)
    asked = [{"role": "user", "content": question}]
    if said:
        asked.append({"role": "user", "content": f"You were cut off after this, go on: {said}"})
    return sources.openai(client().chat.completions.create(model=name, messages=asked, stream=True))


@streamhub.celery.task(
    app,
    hub=open_hub,
    session="answer:{name}",
    bind=True,
    acks_late=True,  # a task whose process is killed
    reject_on_worker_lost=True,  # is given to another worker
    drain=10,  # seconds after SIGTERM, then another worker goes on
)
def answer(self: streamhub.celery.StreamTask, name: str, question: str) -> object:
    self.stream.set_metadata({"question": question, "process": os.getpid()})
    # After what the worker before this one has said, if it was killed.
    return model(question, self.stream.text())
