"""From the source to the rows that training may use."""
