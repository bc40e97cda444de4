"""The layer of the suite that takes the guarantees G1 to G11, through the public API."""
