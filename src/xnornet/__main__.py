"""`python -m xnornet` is the command `xnornet`."""

from .cli import main

if __name__ == "__main__":
    main()
