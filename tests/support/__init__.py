"""What the tests are made with: servers, processes, proxies, clients."""
