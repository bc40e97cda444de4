"""What stands in Redis, and what it means. Pure: no I/O."""
