"""The read model: projection into Redis, the view that follows it, and questions to the view."""
