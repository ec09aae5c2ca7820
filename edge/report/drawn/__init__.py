"""The page: figures in words, tables and pictures."""
