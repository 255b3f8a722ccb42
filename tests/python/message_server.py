"""The simplest servers for messages: `message_server.py one|many` prints HOST:PORT.

`one` answers one message of each client and closes; `many` answers until its client has ended, and
says goodbye. What is read at once is a message; the answer is the same in capitals.
"""

import socket
import sys
import threading


def serve(connection, how):
    with connection:
        while message := connection.recv(4096):
            connection.sendall(message.upper())
            if how == "one":
                return
        connection.sendall(b"goodbye\n")


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print("%s:%d" % listener.getsockname(), flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, sys.argv[1]), daemon=True).start()
