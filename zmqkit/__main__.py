"""`python -m zmqkit`: the command line."""

from zmqkit.cli.main import main

if __name__ == "__main__":
    main()
