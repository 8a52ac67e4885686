"""The launch view's endpoints: what a campaign manager sees, as JSON and as a sheet."""
