"""The web server: it sends tasks, follows what they say, and stops them."""

from typing import Any

from fastapi import FastAPI, HTTPException
from streamhub.http import SSEResponse, lifespan
from tasks import answer, open_hub

hub = open_hub()
app = FastAPI(lifespan=lifespan(hub))


@app.post("/answers/{name}")
def ask(name: str, question: str) -> dict[str, str]:
    # A plain function: FastAPI calls it in a thread, as it talks to the broker.
    return {"task": answer.delay(name, question).id}


@app.get("/answers/{name}")
async def standing(name: str) -> dict[str, Any]:
    stream = await hub.get(f"answer:{name}")
    if stream is None:
        raise HTTPException(404)
    info = await stream.info()
    return {"status": info.status, "metadata": info.metadata}


@app.get("/answers/{name}/events")
async def read(name: str) -> SSEResponse:
    return SSEResponse(hub.get(f"answer:{name}", wait=30))  # a worker may be busy still


@app.post("/answers/{name}/stop")
async def stop(name: str) -> dict[str, str]:
    stream = await hub.get(f"answer:{name}")
    return {"status": "unknown" if stream is None else await stream.cancel(wait=5)}
