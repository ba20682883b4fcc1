// SPDX-License-Identifier: BSL-1.0
// The same as bench.hpp, for Go. Below src/ because that is where GOPATH looks.
package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func Argument(index int, otherwise int) int {
	if index >= len(os.Args) {
		return otherwise
	}
	value, _ := strconv.Atoi(os.Args[index])
	return value
}

// CPU time of the whole process and wall time, until Stop or Report.
type Stopwatch struct {
	begin   time.Time
	cpu     int64
	wall    int64
	stopped bool
}

func CPUTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// A line of /proc/self/status, such as VmRSS or VmPTE, in bytes.
func Status(name string) int {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name+":") {
			value := 0
			fmt.Sscanf(line[len(name)+1:], "%d", &value)
			return value * 1024
		}
	}
	return 0
}

func NewStopwatch() *Stopwatch {
	watch := &Stopwatch{}
	watch.Restart()
	return watch
}

func (watch *Stopwatch) Restart() {
	watch.begin = time.Now()
	watch.cpu = -CPUTime()
}

func (watch *Stopwatch) Stop() {
	watch.cpu += CPUTime()
	watch.wall = time.Since(watch.begin).Nanoseconds()
	watch.stopped = true
}

// More fields may follow, as JSON that begins with a comma.
func (watch *Stopwatch) Report(operations int, more ...string) {
	if !watch.stopped {
		watch.Stop()
	}
	fmt.Printf("{\"operations\": %d, \"cpu_ns\": %d, \"wall_ns\": %d, \"peak_rss\": %d%s}\n",
		operations, watch.cpu, watch.wall, Status("VmHWM"), strings.Join(more, ""))
}
