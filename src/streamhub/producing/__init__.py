"""The write side: from publish to what the store is asked to write."""
