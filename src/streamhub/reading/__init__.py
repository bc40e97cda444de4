"""The read side: what is stored is replayed, then followed live."""
