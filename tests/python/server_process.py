"""A real `packhorse serve`, for one test or many."""

import os
import signal
import subprocess


class ServerProcess:
    """Serves `tree` on a free port of this machine until it is closed."""

    def __init__(self, tree, scratch, *flags):
        self.log_path = os.path.join(scratch, "server.log")
        environment = {**os.environ, "PACKHORSE_STATE": os.path.join(scratch, "state")}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [os.environ["PACKHORSE_BINARY"], "serve", tree, "--listen", "127.0.0.1:0", *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        # The address stands there when connections are already accepted.
        self.address = self.process.stdout.readline().decode().strip()
        if not self.address.startswith("ph://"):
            self.close()
            raise RuntimeError(f"no address but {self.address!r}; the server says: {self.log()}")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def runs(self):
        return self.process.poll() is None

    def close(self):
        """Ends the server as Ctrl-C twice would; returns its exit code."""
        for _ in range(2):
            if self.runs():
                self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        return code
