"""The version of gatecast, which packages, run keys and manifests carry."""

__version__ = "0.1.0"
