// SPDX-License-Identifier: BSL-1.0
package main

import "bench"

func skynet(result chan int, first int, size int) {
	if size == 1 {
		result <- first
		return
	}
	parts := make(chan int, 10)
	for i := 0; i < 10; i++ {
		go skynet(parts, first+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-parts
	}
	result <- sum
}

func main() {
	leaves := bench.Argument(1, 1000000)
	result := make(chan int, 1)
	watch := bench.NewStopwatch()
	skynet(result, 0, leaves)
	sum := <-result
	watch.Report(leaves)
	if sum != leaves*(leaves-1)/2 {
		panic("wrong sum")
	}
}
