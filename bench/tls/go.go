// SPDX-License-Identifier: BSL-1.0
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
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
	here := os.Getenv("BENCH_DIRECTORY")
	pair, err := tls.LoadX509KeyPair(here+"/certificate.pem", here+"/key.pem")
	if err != nil {
		panic(err)
	}
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
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
