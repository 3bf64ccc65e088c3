"""Ways back: how relevance comes back through each kind of module and function, a short table for each family of them."""
