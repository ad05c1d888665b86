"""The ports over the real world. Imported by `services` alone, each where it is needed."""
