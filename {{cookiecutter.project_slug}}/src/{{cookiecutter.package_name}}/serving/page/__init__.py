"""The page: the model and its forms, for people."""
