"""The commands: each reads like a recipe."""
