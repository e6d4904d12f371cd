"""The YAML files that Hydra composes, as a package, so that they are found wherever camexp is installed."""
