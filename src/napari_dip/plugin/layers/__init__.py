"""Layers to arrays, and results to layers with their geometry."""
