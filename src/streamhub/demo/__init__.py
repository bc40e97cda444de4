"""The demo behind ``streamhub demo``: a chat page whose answers survive what one does to them.

An application like any other: it uses the public API of streamhub. Needs the extra
``streamhub-llm[demo]``. ``web`` is the page's server, ``producers`` has whoever answers, and
resumes what another left, ``answer`` is what a producer does, ``model_server`` the API that it
asks.
"""
