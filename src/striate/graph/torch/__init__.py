"""What each torch function means in terms of layers: the trace of a forward, and one file a family of functions."""
