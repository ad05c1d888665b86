"""What is measured, each a module that runs in a process of its own and prints one JSON object on its last line.

Those of peers run in the peers' environments: they import the standard library, `workload` and the peer, nothing else.
"""
