"""Recipes, one a published system or protocol, and the workspace that the three programs share."""
