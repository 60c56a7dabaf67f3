"""The three kinds of learning; each module's forward is its loss."""
