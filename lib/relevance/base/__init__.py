"""What everything stands on, and what knows nothing of this project: checks, the environment, digests, chunks, balls, ascent."""
