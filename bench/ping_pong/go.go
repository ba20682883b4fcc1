// SPDX-License-Identifier: BSL-1.0
package main

import "bench"

func main() {
	rounds := bench.Argument(1, 1000000) / 2
	capacity := bench.Argument(2, 1)
	there := make(chan int, capacity)
	back := make(chan int, capacity)
	go func() {
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
}
