"""Versions of the model, their stages and the ledger of both, all of them tags of git."""
