"""What a browser does with the HTTP side: its own EventSource, and the AI SDK."""
