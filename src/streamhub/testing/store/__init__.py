"""The layer of the suite that takes the words of ``streamhub.stores.base`` one by one."""
