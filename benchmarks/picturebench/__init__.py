"""PictureBench: edits of pictures about which everything is known, so that success is counted."""
