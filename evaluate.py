"""Measure a CAM network's maps: ``python evaluate.py --help``.

The same as ``camexp evaluate``; the recipe is camexp/commands/evaluate.py.
"""

from camexp.commands.evaluate import main

if __name__ == "__main__":
    main()
