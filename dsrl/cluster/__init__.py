"""What submitted runs need: a copy of the code, the queue that holds them, and a report of how they ended."""
