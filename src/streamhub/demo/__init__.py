"""The demo behind ``streamhub demo``: a chat page whose answers survive what one does to them.

An application like any other: it uses the public API of streamhub. Needs the extra
``streamhub-llm[demo]``. ``web`` is the page's server, ``supervisor`` sees to it that every answer
has a producer, ``answer`` is what a producer does, ``model_server`` the API that it asks.
"""
