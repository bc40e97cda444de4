"""A model that needs no key, and numbers what it says: ``python model.py QUESTION``."""

import sys
import time

PAUSE = 0.25  # seconds between two words

for n in range(1, 61):
    print(f"{n}. {sys.argv[1]}", end=" ", flush=True)
    time.sleep(PAUSE)
