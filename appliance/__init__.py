"""Assembly: the only package that knows all the others.

Owns the configuration, the object graph of a drive, the order in which its parts start and stop, schedules,
supervision, the control API and the command line.

Words: the *core* is the mount process, where `vfs`, `cachefs` and `cloud_tier` run; the *gateway* and the *portal*
are processes of their own. A *door* is a way in: mount, SMB, gateway, portal. A *job* is long work in steps,
recorded; a *drill* is a rehearsed recovery; the *verdict* says up to when everything is safe; the *kit* is the
printed recovery key.

Promises that a crash of one process takes no other down, and that one honest status covers all parts. Refuses to hold
what belongs to a layer: a command is a few lines over a control call, and nothing below imports this package.
"""
