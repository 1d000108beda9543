"""How the kernel asks: the drive as a pyfuse3 file system, cut by operation family.

Nothing here decides what a file system is; it finds the right part of the drive for an inode number, translates
attributes and errors, and never lets an exception out, because that would end the mount for everybody.
"""
