"""Tools of the project: programs that write files of it."""
