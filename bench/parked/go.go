// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"fmt"
	"runtime"
	"sync"
	"time"
)

//go:noinline
func touchStack(i int) byte {
	var kilobyte [1024]byte
	for j := range kilobyte {
		kilobyte[j] = byte(i)
	}
	return kilobyte[i%1024]
}

func main() {
	fibers := bench.Argument(1, 10000)
	rss, tables := bench.Status("VmRSS"), bench.Status("VmPTE")
	wake := make(chan bool)
	var group sync.WaitGroup
	group.Add(fibers)
	beginCPU := bench.CPUTime()
	begin := time.Now()
	for i := 0; i < fibers; i++ {
		go func(i int) {
			touchStack(i)
			<-wake
			group.Done()
		}(i)
	}
	runtime.Gosched()
	create := time.Since(begin)
	cpu := bench.CPUTime() - beginCPU
	rss, tables = bench.Status("VmRSS")-rss, bench.Status("VmPTE")-tables
	begin = time.Now()
	close(wake)
	group.Wait()
	fmt.Printf("{\"operations\": %d, \"cpu_ns\": %d, \"create_ns\": %d, \"wake_ns\": %d, \"rss\": %d, \"page_tables\": %d}\n",
		fibers, cpu, create.Nanoseconds(), time.Since(begin).Nanoseconds(), rss, tables)
}
