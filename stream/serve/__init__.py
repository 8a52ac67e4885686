"""The server: reads the live view and answers people, browsers and Prometheus. Knows no engine."""
