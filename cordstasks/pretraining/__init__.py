"""Pre-training: from image folders to a CordsNet, by way of a feed-forward network."""
