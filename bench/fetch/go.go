// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	url := fmt.Sprintf("http://127.0.0.1:%d/", bench.Argument(1, 0))
	requests := bench.Argument(2, 1000)
	watch := bench.NewStopwatch()
	var group sync.WaitGroup
	group.Add(requests)
	for i := 0; i < requests; i++ {
		go func() {
			defer group.Done()
			answer, err := http.Get(url)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}()
	}
	group.Wait()
	watch.Report(requests)
}
