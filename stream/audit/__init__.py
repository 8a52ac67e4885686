"""The auditor: counts again what the workers have counted, and compares."""
