"""An echo server that forks for each client, and whose first process keeps every connection open too."""
import os
import signal
import socket
import sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
kept = []
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        while received := connection.recv(65536):
            connection.sendall(received)
        os._exit(0)
    kept.append(connection)
