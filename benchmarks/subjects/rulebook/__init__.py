"""ansible-rulebook: ``python -m benchmarks.subjects.rulebook EVENTS``.

Its real command, with a source that gives the events at once, Drools in the Java machine and the action ``debug``,
whose line is the record. It reads nothing of Azure.
"""
