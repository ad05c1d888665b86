"""Benchmarks beside the peers: ``make bench``.

A *row* answers one question with figures of several *subjects* (ours, a floor, a peer), measured in turns in one run:
what slows the machine down meanwhile slows all of them. What is judged are ratios, each of values of the same round.
Rows are modules in `rows`; what runs in a process of its own lies in `subjects`; what peers need in `peers`.
"""
