"""Training: one frozen recipe, one loop, and a run folder from which a killed run continues to the same bits.

`recipe`, `schedule` and `metrics` need no torch, so nothing is imported here; import the module you want.
"""
