// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"sync"
)

func main() {
	batch := bench.Argument(1, 1000)
	batches := bench.Argument(2, 1000000) / batch
	ran := 0
	runBatch := func() {
		var group sync.WaitGroup
		group.Add(batch)
		for i := 0; i < batch; i++ {
			go func() {
				ran++
				group.Done()
			}()
		}
		group.Wait()
	}
	runBatch() // the stacks are then there
	watch := bench.NewStopwatch()
	for i := 0; i < batches; i++ {
		runBatch()
	}
	watch.Report(batch * batches)
}
