"""streamhub for threads: the same hub, streams and subscriptions, called without ``await``.

For Celery tasks, Django views and scripts::

    from streamhub.sync import Hub

    with Hub.from_url("redis://localhost:6379/0") as hub:
        stream, created = hub.register("chat:123")
        if created:
            with stream:  # finished on success, failed on an exception, left quietly on a cancel
                for token in answer:
                    stream.publish(token)

        for chunk in hub.get("chat:123").subscribe():  # in any thread, process or machine
            print(chunk.data, chunk.cursor)

Names, arguments, guarantees and errors are those of ``streamhub``; ``aclose`` is called ``close``.
Where a stream is drawn from an iterable, ``hub.run("chat:123", answer)`` publishes it in the
background, and much faster than a ``publish`` for each token.
"""

from .ends import DeadEnd, Ends, TakenEnd
from .hub import Hub, Source
from .inbox import Inbox, Message
from .stream import LiveStream
from .subscription import Subscription
from .supervisor import Supervisor

__all__ = [
    "DeadEnd",
    "Ends",
    "Hub",
    "Inbox",
    "LiveStream",
    "Message",
    "Source",
    "Subscription",
    "Supervisor",
    "TakenEnd",
]
