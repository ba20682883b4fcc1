// SPDX-License-Identifier: BSL-1.0
package main

import (
	"bench"
	"fmt"
	"sort"
	"sync"
	"time"
)

func main() {
	fibers := bench.Argument(1, 10000)
	length := time.Duration(bench.Argument(2, 1000)) * time.Millisecond
	late := make([]int64, 0, 10000000)
	var group sync.WaitGroup
	group.Add(fibers)
	watch := bench.NewStopwatch()
	var begin, end time.Time
	stopped := false
	for i := 0; i < fibers; i++ {
		go func(i int) {
			if end.IsZero() {
				begin = time.Now().Add(500 * time.Millisecond)
				end = begin.Add(length)
			}
			random := uint32(i)*2654435761 + 1
			for now := time.Now(); now.Before(end); {
				random = random*1664525 + 1013904223
				length := time.Duration(1000000 + random%99000000)
				time.Sleep(length)
				woken := time.Now()
				if !stopped && !woken.Before(begin) { // as in sleeps.hpp
					if len(late) == 0 {
						watch.Restart()
					}
					late = append(late, (woken.Sub(now) - length).Nanoseconds())
					if !woken.Before(end) {
						watch.Stop()
						stopped = true
					}
				}
				now = woken
			}
			group.Done()
		}(i)
	}
	group.Wait()
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	watch.Report(len(late), fmt.Sprintf(", \"late_p50_ns\": %d, \"late_p99_ns\": %d", late[len(late)/2], late[len(late)*99/100]))
}
