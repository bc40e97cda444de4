"""What type checkers see of the package as it is installed."""
