"""The control interface: how the command line and the portal ask the running core.

`protocol` holds the words (messages and the `DriveService` they mirror), `handlers` and `server` the core's end on a
Unix socket, `client` the caller's end. A caller imports `protocol` and `client` only, and so never loads a web
framework.
"""
