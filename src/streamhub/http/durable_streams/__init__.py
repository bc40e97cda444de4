"""Sessions as the streams of the Durable Streams protocol: what its stock clients read."""

from .address import durable_stream_url
from .routes import durable_streams_routes

__all__ = ["durable_stream_url", "durable_streams_routes"]
