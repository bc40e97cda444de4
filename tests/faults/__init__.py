"""The fault campaign: streams under load, faults of every kind, and proofs on what was recorded."""
