"""What torch's own operations leave too slow on a processor, in C, compiled where it runs."""
