"""The commands by their kind: options and help of each, and what is refused at once."""
