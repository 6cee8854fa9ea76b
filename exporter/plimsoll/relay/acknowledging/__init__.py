"""Acknowledgements: silences that are kept while their alert fires."""
