"""The streamhub command."""
