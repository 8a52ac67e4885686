"""Kafka and Faust: fetching, the ledger, topics and dead letters."""
