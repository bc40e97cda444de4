"""Bytes to and from one server."""
