// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"runtime"
	"sync"
)

func byChannel(rounds int) {
	there := make(chan int, 1)
	back := make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		for value := range there {
			back <- value + 1
		}
	}()
	watch := bench.NewStopwatch()
	value := 0
	for i := 0; i < rounds; i++ {
		there <- value
		value = <-back
	}
	watch.Report(2 * rounds)
	close(there)
}

func byMutex(rounds int) {
	var mutex sync.Mutex
	changed := sync.NewCond(&mutex)
	turn := true
	play := func(mine bool) {
		for i := 0; i < rounds; i++ {
			mutex.Lock()
			for turn != mine {
				changed.Wait()
			}
			turn = !mine
			changed.Signal()
			mutex.Unlock()
		}
	}
	watch := bench.NewStopwatch()
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		play(false)
		done <- true
	}()
	play(true)
	<-done
	watch.Report(2 * rounds)
}

// Each goroutine keeps a thread of its own, as a fiber its hub.
func main() {
	runtime.GOMAXPROCS(2)
	runtime.LockOSThread()
	if bench.Argument(1, 0) == 1 {
		byMutex(bench.Argument(2, 100000) / 2)
	} else {
		byChannel(bench.Argument(2, 100000) / 2)
	}
}
