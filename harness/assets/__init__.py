"""Assets: images and weights, by registry, with checksums, from a mirror, a public source or a user's folder."""
