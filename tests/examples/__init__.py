"""The examples, each followed as its README says."""
