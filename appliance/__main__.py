"""`python -m appliance` is `hybrid-drive`."""

from appliance.cli import main

if __name__ == "__main__":
    main()
