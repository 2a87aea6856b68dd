"""Web pages around exported models: writing them and serving them."""
