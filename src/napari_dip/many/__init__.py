"""The planes of a stack, the tiles of a large image, the files of a folder."""
