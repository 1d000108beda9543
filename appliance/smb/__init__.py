"""The SMB door: Samba's smbd over the mount, for Windows and macOS.

    sharing   what smbd is told: users with their NT hashes, shares with who may write and who may read
    door      smbd and all its processes, kept alive by `serve` beside the core; it ends before the core does
    session   one process of smbd: one client machine that is signed in

The core, which has the people, writes smbd's files (`files`); `serve` runs smbd by the `launcher` in a mount namespace
of its own, so that nothing outside the state directory is ever changed. smbd uses the mount as any program does: the
kernel and the core refuse it what they refuse everybody (decision 0035).
"""
