"""Real faces in: pictures from anywhere, read, found, aligned, and given as a stream."""
