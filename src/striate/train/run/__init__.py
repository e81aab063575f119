"""The run folder: checkpoints, weights, rows of its history, and comparing several runs."""
