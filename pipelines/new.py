"""Write a source recipe from a file's first rows: conf/source/<name>.yaml, each guess with its reason."""

from gatecast.cli.commands.new import main

if __name__ == "__main__":
    main()
