"""Questions to people: tokens that name a question, and who may answer it. No I/O."""
