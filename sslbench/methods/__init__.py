"""Methods: a part's file declares its settings, its module's forward is its loss."""
