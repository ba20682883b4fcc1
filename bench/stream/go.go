// SPDX-License-Identifier: BSL-1.0
package main

import "bench"

func main() {
	count := bench.Argument(1, 5000000)
	numbers := make(chan int, 128)
	go func() {
		for i := 1; i <= count; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	watch := bench.NewStopwatch()
	sum := 0
	for value := range numbers {
		sum += value
	}
	watch.Report(count)
	if sum != count*(count+1)/2 {
		panic("wrong sum")
	}
}
