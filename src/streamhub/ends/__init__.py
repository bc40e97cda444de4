"""Feeds of ends: each end reaches one worker, until it is done."""
