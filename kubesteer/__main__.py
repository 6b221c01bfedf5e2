"""`python -m kubesteer`: the `kubesteer` command, as the image starts it."""

from kubesteer.cli.main import main

if __name__ == "__main__":
    main()
