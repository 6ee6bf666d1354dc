"""Utilities of the masked face recognition study: one module a concept (see README.md)."""
