// SPDX-License-Identifier: BSL-1.0
package main

import (
	"fmt"
	"net"
)

func serve(client net.Conn) {
	defer client.Close()
	data := make([]byte, 4096)
	for {
		size, err := client.Read(data)
		if err != nil {
			return
		}
		if _, err := client.Write(data[:size]); err != nil {
			return
		}
	}
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		client, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(client)
	}
}
