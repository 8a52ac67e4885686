"""Simulations of weeks in minutes: what alerts do under traffic that is known to the last click."""
