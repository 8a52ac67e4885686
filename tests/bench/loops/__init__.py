"""What the worker is compared with, each a program of its own that prints one line of JSON."""
