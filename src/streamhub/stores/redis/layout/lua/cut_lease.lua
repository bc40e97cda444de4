-- Cut a lease that ends later than it was granted for: the clock went back since it was written.
-- KEYS: meta
-- Answers: 1
load(KEYS[1])
return 1
