"""Parts shared by every model family: data, features, streaming layers and the training loop."""
