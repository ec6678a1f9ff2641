// A TCP echo server with a goroutine for each client: echo PORT
package main

import (
	"log"
	"net"
	"os"
)

func echo(connection net.Conn) {
	defer connection.Close()
	// net sets TCP_NODELAY itself. io.Copy would splice(2) from socket to socket, which no other server here does.
	buffer := make([]byte, 16384)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(connection)
	}
}
