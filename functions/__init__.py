"""What Azure calls: triggers, order and waiting. Each is thin: load, call one stage, dump."""
