"""File formats, one module each. A module is imported when it is used."""
