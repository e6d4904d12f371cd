"""Look at maps as you drop images into a page: ``python explore.py --help``.

The same as ``camexp explore``; the recipe is camexp/commands/explore.py.
"""

from camexp.commands.explore import main

if __name__ == "__main__":
    main()
