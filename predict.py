"""See where a CAM network looks: ``python predict.py --help``.

The same as ``camexp predict``; the recipe is camexp/commands/predict.py.
"""

from camexp.commands.predict import main

if __name__ == "__main__":
    main()
