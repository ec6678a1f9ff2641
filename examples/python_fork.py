"""A TCP echo server with a process for each client: python_fork.py PORT"""
import os
import signal
import socket
import sys


def serve(connection):
    while data := connection.recv(16384):
        connection.sendall(data)


# The kernel reaps the children: nobody asks how they ended.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                serve(connection)
            except ConnectionError:
                pass
            os._exit(0)
        connection.close()
