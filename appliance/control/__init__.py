"""The control interface: how the command line and the portal ask the running core.

`protocol` holds the words (messages and errors), `services` what can be asked, `handlers` and `server` the core's end
on a Unix socket, `client` the caller's end. A caller imports `protocol` and `client` only, and so never loads a web
framework.
"""
