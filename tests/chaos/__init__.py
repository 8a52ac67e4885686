"""Attacks on the running system, and a judge of its figures that goes its own way."""
