"""The version of the package and of the formats that it writes."""

VERSION = "0.3.0"

STORE_SCHEMA = 1
"""Version of a feature store's spec.json and records."""

PACKAGE_SCHEMA = 1
"""Version of a model package's files."""

RESULT_SCHEMA = 1
"""Version of the JSON that `tal evaluate` and `tal check` write."""
