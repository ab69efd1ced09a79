"""The frame of an HTML page and the plots that several reports share."""
