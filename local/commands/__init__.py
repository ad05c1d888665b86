"""What the commands of ``medic`` do, a module per group. Each verb prints its answer and returns the exit code."""
