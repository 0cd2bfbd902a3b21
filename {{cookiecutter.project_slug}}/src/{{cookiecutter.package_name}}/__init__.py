"""A machine-learning service: contract, data, model, gate, export and serving."""
