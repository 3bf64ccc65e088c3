"""The program that prints the book. It runs outside of the chapters, and knows nothing of what they compute."""
