"""The applications of the page on other frameworks, each as it stands there, on a real server."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from ..support.child_processes import PythonProcess

__all__ = ["DOORS", "Door", "section"]

PAGE = Path(__file__).parents[2] / "docs" / "web-frameworks.md"

# Before the application. The process tells on request what its hub holds.
_BEFORE = """
import socket, sys
from _thread import start_new_thread as start_thread
number = int(sys.argv.pop())
listening = socket.socket(fileno=number)

def answer_questions():
    def answer():
        for _ in sys.stdin:
            print("followed", hub.statistics().sessions_followed, flush=True)
    start_thread(answer, ())
"""
_SETTINGS = """
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
    ],
)
"""
# As its command line does with the module that it is given; it forks after the application was
# loaded.
_GUNICORN = """
from gunicorn.app.base import BaseApplication

def post_worker_init(worker):
    close_at_signals(hub)
    answer_questions()

class Server(BaseApplication):
    def load_config(self):
        options = dict(
            bind=f"fd://{number}", worker_class="gthread", threads=6, preload_app=True,
            post_worker_init=post_worker_init, loglevel="warning", graceful_timeout=60,
            control_socket_disable=True,
        )
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self):
        return app

Server().run()
"""
# It replaces threads before anything else is imported.
_PATCHED = """
from gevent import monkey
monkey.patch_all()
"""
_GEVENT = _GUNICORN.replace("gthread", "gevent")
_WAITRESS = """
import waitress
answer_questions()
waitress.serve(app, sockets=[listening], threads=6, channel_request_lookahead=1)
"""
# What the chat of the page leaves to the reader; before what it does with it.
_MODEL = """
class Model:
    async def stream(self, prompt):
        for token in ("The ", "lamp"):
            yield token

model = Model()
"""
_WERKZEUG = """
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
answer_questions()
make_server("127.0.0.1", 0, app, threaded=True, fd=number).serve_forever()
"""
_UVICORN = """
import uvicorn
answer_questions()
config = uvicorn.Config(app, lifespan="on", log_level="warning")
try:
    uvicorn.Server(config).run(sockets=[listening])
except KeyboardInterrupt:
    pass
"""
_HYPERCORN = """
import asyncio
from hypercorn.config import Config
from hypercorn.run import run
import types
module = sys.modules["application"] = types.ModuleType("application")
module.app = app
answer_questions()
run(Config.from_mapping(
    application_path="application:app", bind=f"fd://{number}", workers=0, loglevel="WARNING",
))
"""
_AIOHTTP = """
answer_questions()
web.run_app(app, sock=listening, handler_cancellation=True, print=None)
"""
_SANIC = """
answer_questions()
app.run(sock=listening, single_process=True, motd=False, access_log=False)
"""


class Door:
    """One application on one server."""

    def __init__(
        self,
        title: str,
        server: str,
        *,
        before: str = "",
        after: str = "",
        chooses: bool = True,
        guarded: bool = True,
    ) -> None:
        """
        :param title: of the section of the page.
        :param guarded: whether its stop keeps pages of other sites out.
        :param chooses: whether a client chooses the format, and gets an answer of ours to errors.
        """
        self.title = title
        self._before, self._after = _BEFORE + before, after + server
        self.chooses = chooses
        self.guarded = guarded

    async def start(self, url: str, listening: int, errors: Path) -> Served:
        # A page may be there before the worker; here nothing comes.
        application = section(self.title).replace("redis://localhost:6379/0", url)
        source = self._before + application.replace("wait=5", "wait=0.1") + self._after
        # Some of these servers patch what others import.
        return await Served.start(
            source, str(listening), errors=errors, pass_fds=[listening], has_begun=False
        )


class Served(PythonProcess):
    """Its process."""

    async def followed(self) -> int:
        """How many sessions its hub follows."""
        await self.send("?")
        # Some servers print, too.
        while not (line := await self.line()).startswith("followed "):
            pass
        return int(line.split()[1])

    def stop(self) -> None:
        self.signal(signal.SIGTERM)


def section(title: str) -> str:
    """All Python of a section of the page."""
    (text,) = re.findall(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


DOORS = {
    "wsgi-gunicorn": Door("WSGI", _GUNICORN),
    "wsgi-gevent": Door("WSGI", _GEVENT, before=_PATCHED),
    "wsgi-waitress": Door("WSGI", _WAITRESS),
    "flask-werkzeug": Door("Flask", _WERKZEUG, before=_MODEL),
    "flask-gunicorn": Door("Flask", _GUNICORN, before=_MODEL),
    "django-gunicorn": Door(
        "Django",
        _GUNICORN,
        before=_SETTINGS,
        after="app = wsgi_application\nfrom streamhub.django import close_at_signals\n",
    ),
    "django-uvicorn": Door("Django", _UVICORN, before=_SETTINGS, after="app = application\n"),
    "django-async-uvicorn": Door(
        "Django under ASGI", _UVICORN, before=_SETTINGS, after="app = application\n"
    ),
    "django-async-hypercorn": Door(
        "Django under ASGI", _HYPERCORN, before=_SETTINGS, after="app = application\n"
    ),
    "aiohttp": Door("aiohttp", _AIOHTTP),
    "asgi-uvicorn": Door("ASGI", _UVICORN),
    "asgi-hypercorn": Door("ASGI", _HYPERCORN),
    "litestar": Door("Litestar", _UVICORN),
    "quart": Door("Quart", _HYPERCORN, guarded=False),
    "sanic": Door("Sanic", _SANIC, guarded=False),
    "fastapi": Door("FastAPI's own `EventSourceResponse`", _UVICORN, chooses=False, guarded=False),
}
