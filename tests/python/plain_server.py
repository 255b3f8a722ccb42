"""The simplest servers of files: `plain_server.py one|many|cut DIRECTORY` prints HOST:PORT.

They know nothing of line ends: what they read at once is a name. `one` closes after each file;
`many` takes names until its client closes; `cut` breaks off in the middle of each file.
"""

import os
import socket
import struct
import sys
import threading


def serve(connection, how, directory):
    with connection:
        while name := connection.recv(4096):
            try:
                with open(os.path.join(directory, os.fsdecode(name)), "rb") as file:
                    content = file.read()
            except OSError:
                return
            if how == "cut":
                connection.sendall(content[: len(content) // 2])
                reset = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                return
            connection.sendall(content)
            if how == "one":
                return


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print("%s:%d" % listener.getsockname(), flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, *sys.argv[1:3]), daemon=True).start()
