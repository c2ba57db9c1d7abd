"""A clip's bytes, wherever they are: files here or remote, places in record shards, files that appear whole or not at all."""
