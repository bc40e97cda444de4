"""A program on the public API, as its author would write it under a strict type checker.

It is never run: mypy and pyright read it, and what each call gives is stated.
"""
