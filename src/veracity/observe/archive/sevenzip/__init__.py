"""7z archives: ``structures`` parses the header, ``coders`` unpacks folders, ``reader`` nests the files."""
