"""The simplest clients for messages: `message_client.py one|many|crowd HOST:PORT TEXT...`

`one` dials for each message, `many` sends all over one connection, `crowd` dials for all at once.
They know nothing of line ends, send each TEXT as it is and print what is read at once.
"""

import socket
import sys


def say(connection, text):
    connection.sendall(text.encode())
    print(connection.recv(4096).decode(), flush=True)


if __name__ == "__main__":
    how, place, *texts = sys.argv[1:]
    host, port = place.rsplit(":", 1)
    place = (host, int(port))
    if how == "one":
        for text in texts:
            with socket.create_connection(place) as connection:
                say(connection, text)
    elif how == "many":
        with socket.create_connection(place) as connection:
            for text in texts:
                say(connection, text)
    else:
        connections = [socket.create_connection(place) for _ in texts]
        for connection, text in zip(reversed(connections), texts):
            say(connection, text)
