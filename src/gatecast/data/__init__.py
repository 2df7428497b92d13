"""From a raw feed to a panel: sources, contract, ingest, calendar, panel, windows."""
