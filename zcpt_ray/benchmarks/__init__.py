"""Tables of trained networks: their formats, what they say of an architecture, converters of official files."""
