"""What a reader sees: figures, tables and sentences, interactive blocks; and the press, which prints the book."""
