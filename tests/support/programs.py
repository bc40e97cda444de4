"""Programs that tests run in processes of their own, to kill, freeze and block."""

from __future__ import annotations

from streamhub.testing.waiting import unhurried

__all__ = ["LEASE", "PRODUCE", "SUBSCRIBE"]

#: Of every producer here, in seconds: short, because tests wait until it lapses.
LEASE = unhurried(0.5)

_PREAMBLE = f"""
import asyncio, signal, sys, time
from streamhub import Hub, HubConfig, StreamHubError

CONFIG = HubConfig(lease={LEASE})
"""

#: Arguments: URL, session, takeover, another lease if wanted. Then obeys the lines it is sent:
#: ``publish N`` (chunks named after their offsets), ``block S`` (the event loop), ``flush``,
#: ``metadata``, ``close``; answers each with ``ok`` or with the error's type. SIGTERM closes the
#: hub.
PRODUCE = (
    _PREAMBLE
    + """
async def obey(stream, line):
    verb, _, argument = line.strip().partition(" ")
    if verb == "publish":
        for _ in range(int(argument)):
            global offset
            offset += 1
            await stream.publish(f"<{offset}>")
        await stream.flush()
    elif verb == "block":
        time.sleep(float(argument))
    elif verb == "metadata":
        await stream.set_metadata({"by": "the stale one"})
    else:
        await getattr(stream, verb)()

async def produce(url, session_id, takeover, lease=CONFIG.lease):
    global offset
    loop = asyncio.get_running_loop()
    async with Hub.from_url(url, config=HubConfig(lease=float(lease))) as hub:
        stream, created = await hub.register(session_id, takeover=takeover)
        offset = (await stream.info()).last.offset
        ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print("claimed" if created else "refused")

        async def serve():
            while line := await reader.readline():
                try:
                    await obey(stream, line.decode())
                except StreamHubError as error:
                    print(type(error).__name__)
                else:
                    print("ok")

        serving = asyncio.create_task(serve())
        await ended.wait()
        serving.cancel()
    print("released")

asyncio.run(produce(*sys.argv[1:]))
"""
)

#: Arguments: URL, session. Prints every chunk with its cursor's offset, then how it ended.
SUBSCRIBE = (
    _PREAMBLE
    + """
async def subscribe(url, session_id):
    async with Hub.from_url(url, config=CONFIG) as hub:
        stream = await hub.get(session_id, wait=10)
        try:
            async with stream.subscribe() as chunks:
                async for chunk in chunks:
                    print(chunk.cursor.offset, chunk.data)
        except StreamHubError as error:
            print(type(error).__name__)
        else:
            print(chunks.status)

asyncio.run(subscribe(*sys.argv[1:]))
"""
)
