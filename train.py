"""Train a CAM network and watch its maps sharpen: ``python train.py --help``.

The same as ``camexp train``; the recipe is camexp/commands/train.py.
"""

from camexp.commands.train import main

if __name__ == "__main__":
    main()
