"""The version of cortex_trio; pyproject.toml has the same."""

__version__ = "0.1.0"
