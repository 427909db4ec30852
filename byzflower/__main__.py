"""``python -m byzflower``: the command line."""

from byzflower.simulations.cli import main

if __name__ == "__main__":
    main()
