"""Launches of campaigns: their first week, beside earlier ones, and where it leads. Pure."""
