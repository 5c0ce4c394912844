"""The project on disk: lock, stored bases, cache, transactional writes."""
