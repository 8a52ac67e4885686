"""`python -m stream` is `stream`."""

from stream.cli import main

if __name__ == "__main__":
    main()
