"""The file that `init` writes: every key with its default, and what it is for. A test holds it against the tree."""

import json

DEFAULT_TEXT = """\
# Hybrid Drive. Every key may be left out; the values here are the defaults. Read when the drive starts.

[drive]
size = "10 TiB"             # what programs see as the drive's size
time_zone = ""              # the office's, such as "Europe/Berlin"; "" is the machine's

[store]
url = ""                    # file:///FOLDER, or s3://BUCKET/PREFIX?endpoint=…; "" is the folder STATE/store
up = ""                     # most bytes sent per second, such as "2 MiB"; "" is no limit
down = ""                   # most bytes fetched per second
rules = []                  # other limits by the hour: [{when = "mon-fri 8-18", up = "1 MiB", down = "4 MiB"}]
grace_h = 24.0              # how many hours what nobody needs any more stays there, at least
least_live = "50%"          # a pack of which less is needed is packed anew
scrub_days = 90.0           # in so many days all of it is read again, to find damage; 0 is never

[cache]
budget = "80%"              # local bytes: a share of the disk's free space at init, or a size
scrub_days = 30.0           # in so many days all of them are read again, to find damage; 0 is never

[cuts]                      # when changes become durable, whichever comes first
period_s = 5.0              # seconds
max_rows = 20000            # changed rows
max_dirty_bytes = "256 MiB" # written bytes

[seal]                      # when changes are made ready for the store, in seconds
quiet_s = 3.0               # after the last write to a file
old_s = 20.0                # after its first unsent write, however busy it is
cooled_s = 3600.0           # after the last write to a file that was changed again and again: it is put in order

[mount]
polling = true              # look out for the next request for a moment before sleeping; false on battery

[smb]
enabled = false             # share the drive with Windows and macOS; needs root and smbd
port = 445                  # Windows knows no other
bind = ""                   # addresses or interfaces to listen at, such as "192.168.1.2"; "" is all

[snapshots]
scheduled = true            # make one every minute in which something changed, and give them up by the policy

[upkeep]
night = 3                   # the hour of the office's day in which long work begins

[log]
level = "info"              # debug, info, warning or error
"""


def default_text(store_url: str = "") -> str:
    """What `init` writes for a store at this address."""
    line = f"url = {json.dumps(store_url, ensure_ascii=False):22}"  # a TOML string escapes as a JSON string does
    return DEFAULT_TEXT.replace('url = ""                    ', line, 1)
