"""Both ends of one wire, so that the wire has one definition.

Owns the messages between a laptop and the drive, the gateway that answers them, the remote mount, and continuous
backup.

Words: the *agent* is the remote mount and the backup on somebody's machine, the *gateway* the agents' door at the
appliance. A *device* is an enrolled laptop, an *actor* who made a change. A *recipe* is what backup sends for a
changed file: ranges to reuse, and new bytes.

Promises to install alone, without libfuse or a compiler, on a machine that has nothing else of ours. So it imports
nothing else of ours: what the gateway needs from the drive it is given when it is started.
"""
