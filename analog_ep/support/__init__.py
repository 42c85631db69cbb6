"""Files, processes, compiled loops: what every room may use and which knows none of them."""
