"""`python -m` runs the command line, in UTF-8 whatever the locale says."""

import os
import sys

from .cli import main

if __name__ == "__main__":
    if sys.getfilesystemencoding() != "utf-8":  # names of files and arguments would not be text
        again = [sys.executable, "-X", "utf8", "-m", str(__package__), *sys.argv[1:]]
        os.execv(sys.executable, again)  # noqa: S606  (the same program, with the same arguments)
    main()
