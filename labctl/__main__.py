"""`labctl`, and `python -m labctl`: Ctrl-C ends it without a traceback from the first moment on."""

import sys


def main() -> int:
    """Run one command; the exit status."""
    try:
        from labctl.app import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
