"""Weights that travel with the zoo, installed as the package `zoo_weights`; see README.md."""
