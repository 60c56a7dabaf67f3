"""Many cells: planned as a whole, run one process each, gone on with after any crash."""
