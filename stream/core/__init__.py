"""The meaning of the metrics: records and state in, figures out; no I/O, no clock."""
