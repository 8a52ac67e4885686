"""Hostile input through the real pipeline."""
