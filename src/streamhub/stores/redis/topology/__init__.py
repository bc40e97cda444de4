"""Which server has what: one, the master that Sentinel names, or a cluster."""
