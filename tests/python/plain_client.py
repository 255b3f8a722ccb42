"""The simplest clients of the plain mode: `plain_client.py one|many HOST:PORT PREFIX NAME...`

`one` dials for each file and reads to the end; `many` asks for all over one connection, without a
line end, and reads once for each. What comes for NAME is saved as PREFIX and NAME.
"""

import socket
import sys


def fetch_one(place, name):
    with socket.create_connection(place) as connection:
        connection.sendall(name.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def fetch_many(place, names):
    with socket.create_connection(place) as connection:
        for name in names:
            connection.sendall(name.encode())
            yield connection.recv(1024)


if __name__ == "__main__":
    how, place, prefix, *names = sys.argv[1:]
    host, port = place.rsplit(":", 1)
    place = (host, int(port))
    contents = fetch_many(place, names) if how == "many" else (fetch_one(place, n) for n in names)
    for name, content in zip(names, contents):
        with open(prefix + name, "wb") as file:
            file.write(content)
        print(f"{name}: {len(content)} bytes")
