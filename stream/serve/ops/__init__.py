"""The ops room: what its screen shows, read from the view and the server's own samples."""
