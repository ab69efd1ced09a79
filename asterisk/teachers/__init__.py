"""The teacher's vectors, computed once: teachers, the embedding store and its shards, the cluster driver."""
