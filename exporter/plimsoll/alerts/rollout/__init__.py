"""Takes rendered files into service: written as a whole, checked, linked, loaded, and seen to run."""
