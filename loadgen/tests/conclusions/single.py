"""An echo server of one process and one thread."""
import selectors
import socket
import sys

selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            selector.register(listener.accept()[0], selectors.EVENT_READ)
            continue
        received = key.fileobj.recv(65536)
        if received:
            key.fileobj.sendall(received)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
