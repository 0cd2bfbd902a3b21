"""From rows to a gated, exported model."""
