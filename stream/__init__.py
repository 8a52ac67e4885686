"""Customer-engagement metrics, live: events from Kafka, figures in the API and at `/metrics`."""

__version__ = "0.1.0"
