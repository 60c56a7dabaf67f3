"""Optimizers as parts, each beside the code that takes its steps where torch has none."""
