"""The worker's surroundings in tests: `engine` (the other end of its socket) and `provider` (what models ask)."""
