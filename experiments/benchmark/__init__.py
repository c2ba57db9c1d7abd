"""How fast the pipeline is, against its limit and its alternatives."""
