"""Faults by the thousand, drawn from a seed, and an independent judge of what came out."""
