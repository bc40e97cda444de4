"""The gateway: a model's server behind it that fails on request, clients of others before it."""
