"""Training of found networks: recipes, the feed of images, the trainer, and its records."""
