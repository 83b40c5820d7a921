"""The file system that shows every blob under its CID, and files while they grow."""
