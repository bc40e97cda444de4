"""The ASGI application: what a project has in its ``asgi.py``."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django = get_asgi_application()

from chat import hub  # noqa: E402 - its views need Django to be set up
from streamhub.django import with_lifespan  # noqa: E402

application = with_lifespan(django, hub)  # closes the hub when the server is told to stop
