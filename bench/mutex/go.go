// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"sync"
)

func main() {
	turns := bench.Argument(1, 1000000) / 2
	var mutex sync.Mutex
	changed := sync.NewCond(&mutex)
	turn := true
	play := func(mine bool) {
		for i := 0; i < turns; i++ {
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
		play(false)
		done <- true
	}()
	play(true)
	<-done
	watch.Report(2 * turns)
}
