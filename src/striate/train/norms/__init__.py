"""Batch normalisation while training: its policy, statistics over several ranks, groups, and how its inputs shift."""
