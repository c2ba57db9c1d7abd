"""The bytes of a clip, in a local file, a remote file or a record shard; and writing files whole or not at all."""
