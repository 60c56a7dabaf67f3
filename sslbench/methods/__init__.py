"""The paper's three kinds of learning; each file declares one, its module's forward is its loss."""
