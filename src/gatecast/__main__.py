"""``python -m gatecast NAME key=value …``: the command ``gatecast`` of this interpreter."""

from gatecast.cli import main

if __name__ == "__main__":
    main()
