"""The stores. ``base`` states what one promises; only ``redis`` imports the Redis client."""
