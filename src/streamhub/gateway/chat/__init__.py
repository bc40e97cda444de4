"""Chat Completions through the gateway: as the upstream sends them, and resumable."""
