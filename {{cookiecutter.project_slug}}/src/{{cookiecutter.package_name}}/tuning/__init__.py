"""Choices of parameters, features and how often to train, judged on training rows alone."""
