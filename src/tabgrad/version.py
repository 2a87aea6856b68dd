"""The version of this package, written into everything it exports."""

VERSION = "0.1.0"
