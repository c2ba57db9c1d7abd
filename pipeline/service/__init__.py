"""A tf.data service: the servers that decode training batches, and the client that puts them in order."""
