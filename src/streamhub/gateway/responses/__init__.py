"""The Responses API: its answers are sessions, one chunk for each event of the upstream."""
