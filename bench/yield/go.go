// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"runtime"
)

func main() {
	fibers := bench.Argument(1, 2)
	rounds := bench.Argument(2, 2000000) / fibers
	done := make(chan bool)
	watch := bench.NewStopwatch()
	for i := 0; i < fibers; i++ {
		go func(i int) {
			runtime.Gosched() // until all have started
			if i == 0 {
				watch.Restart()
			}
			for round := 0; round < rounds; round++ {
				runtime.Gosched()
			}
			done <- true
		}(i)
	}
	for i := 0; i < fibers; i++ {
		<-done
	}
	watch.Report(fibers * rounds)
}
