"""Sessions over HTTP: real servers in this process, real clients, every store."""
