package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tooBusy is how much of the machine others may use before a row is measured; above
// it the row says more about them.
const tooBusy = 0.2

// busy is how much of the machine's CPUs others use at the moment, from 0 to 1.
func busy(ctx context.Context) (float64, error) {
	idle, all, err := cpuTimes()
	if err != nil {
		return 0, err
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	idleThen, allThen, err := cpuTimes()
	if err != nil || allThen == all {
		return 0, err
	}
	return 1 - float64(idleThen-idle)/float64(allThen-all), nil
}

// cpuTimes are the first line of /proc/stat (proc_stat(5)).
func cpuTimes() (idle, all int64, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, f := range fields[1:9] { // user to steal; what guests use is in user
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		all += n
		if i == 3 || i == 4 { // idle, iowait
			idle += n
		}
	}
	return idle, all, nil
}
