"""From a table that nobody has described to its contract."""
