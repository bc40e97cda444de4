"""How a log looks in each dialect. Pure: no I/O, no framework."""
