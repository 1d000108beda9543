"""Bytes at rest in a place we do not trust.

Owns keys, the cuts of the chunker, the codec of one block, packs, stores, upload and fetch, the metadata log, the
lease of the one writer, garbage collection and scrub.

Words: a *block* is a run of bytes that extents point into; sealed, it is named by its *block id*, the keyed BLAKE3 of
its plaintext. A *pack* is an immutable object of about 16 MiB of encrypted blocks with a footer; the *catalog* says
which pack holds a block. A *record* is what of a pack can be opened by itself: one block, or several small ones. A
*salt* is drawn for each encoding and names its object. A *generation* is a key that objects are sealed under until the
next rotation; the *key ring* gives all of them to whoever owns one of its *wraps*. A *store* holds objects under names.
A *log entry* is a numbered piece of the shipped metadata log, a *checkpoint* the full metadata at an epoch. A *lease*
is the timed right to write, a *fence* what makes a stale holder harmless.

Promises that what was encoded was decoded and compared before it counts, and that nothing is deleted because it was
not found or not listed. Refuses to know files, names or SQL tables: what it must remember it keeps through a protocol
that the layer above implements. It imports nothing else of ours.
"""
