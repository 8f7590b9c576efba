"""``python -m docnats``: the command line."""

# Parser children import this module again under another name: they must not get the CLI.
if __name__ == "__main__":
    from docnats.cli import main

    main()
