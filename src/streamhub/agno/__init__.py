"""The event streams of agno's background runs, on a hub: ``pip install "streamhub-llm[agno]"``."""

try:
    from .event_stream import EVENT, HubEventStream
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "agno":
        raise
    raise ModuleNotFoundError(
        'streamhub.agno needs agno: pip install "streamhub-llm[agno]"', name="agno"
    ) from None

__all__ = ["EVENT", "HubEventStream"]
