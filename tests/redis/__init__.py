"""The store in Redis: one server, Sentinel, Cluster, and what befalls them."""
