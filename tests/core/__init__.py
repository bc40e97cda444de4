"""Values, the hub, the two wings, the stores' doors, and the project itself."""
