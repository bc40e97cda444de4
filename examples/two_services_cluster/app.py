"""The service that browsers talk to. It knows no model: it reads what is in the cluster."""

import os

import httpx
from fastapi import FastAPI, HTTPException
from streamhub import Hub
from streamhub.http import SSEResponse, lifespan

url = os.environ.get("STREAMHUB_URL", "redis+cluster://127.0.0.1:7001,127.0.0.1:7002")
producer = os.environ.get("PRODUCER_URL", "http://127.0.0.1:8001")
hub = Hub.from_url(url)
app = FastAPI(lifespan=lifespan(hub))


@app.post("/chats/{chat}")
async def ask(chat: str, question: str) -> dict[str, bool]:
    async with httpx.AsyncClient(base_url=producer) as client:
        try:
            begun = await client.post(f"/answers/{chat}", params={"question": question})
        except httpx.TransportError as error:
            raise HTTPException(503, f"no producer at {producer}: {error}") from error
        begun.raise_for_status()
        return begun.json()


@app.get("/chats/{chat}/answer")
async def answer(chat: str) -> SSEResponse:
    return SSEResponse(hub.get(f"chat:{chat}", wait=5))


@app.post("/chats/{chat}/stop")
async def stop(chat: str) -> dict[str, str]:
    stream = await hub.get(f"chat:{chat}")
    return {"status": "unknown" if stream is None else await stream.cancel(wait=5)}
