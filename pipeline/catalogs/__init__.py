"""A data set as one table, one row a clip: from FMA, folders, tables or record shards."""
