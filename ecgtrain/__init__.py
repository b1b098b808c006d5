"""A feature store to trained runs and their predictions."""
