"""Pages over the control client; a page decides nothing.

Owns the *portal*: what an owner, an admin or an employee sees in the browser, and its words and looks.

Promises that everything it can do, the command line can do too, because both ask the same control API. Refuses to
hold state or rules of its own. Imports only `appliance.control`.
"""
