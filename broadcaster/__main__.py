"""``python -m broadcaster``: the command, where its script is not on the path."""

from broadcaster.cli.main import main

if __name__ == "__main__":
    main()
