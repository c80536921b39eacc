"""Zip archives, read in each way in which a real reader would read them.

``structures`` parses single records; ``ends`` finds the directories that an archive may be taken to have;
``survey`` brings all readings together; ``reader`` nests what they find.
"""
