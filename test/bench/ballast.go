package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Virtual machines give freed memory back to their hypervisor. Who touches a page first
// afterwards waits for it: about 1.4 CPU-seconds per GB where that was measured, more
// than a broker needs to store it. A machine that has worked for a while has no free
// memory, all of it holds files; so before each run the free memory is filled with
// pages of a file without content, which the kernel takes back at once and at no cost.

// leftFree is how much memory is left free: what the kernel keeps at hand, and some.
const leftFree = 512 << 20

// fillMemory has the page cache take the memory that is free.
func (r *runner) fillMemory() error {
	if r.noBallast {
		return nil
	}
	free, err := memFree()
	if err != nil || free <= 2*leftFree {
		return err
	}
	r.ballasts++
	name := filepath.Join(r.scratch, fmt.Sprintf("ballast-%d", r.ballasts))
	if err := readHoles(name, free-leftFree); err != nil {
		return fmt.Errorf("fill the page cache: %w", err)
	}
	after, err := memFree()
	if err != nil {
		return err
	}
	if after > free-free/10 {
		r.noBallast = true // a memory limit of this process only, perhaps
		fmt.Fprintf(r.log, "the page cache cannot be filled: %d MB were free, %d are\n", free>>20, after>>20)
	}
	return nil
}

// readHoles makes a file of holes, and reads it once: each page of it is then in memory.
func readHoles(name string, size int64) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, f, make([]byte, 1<<20))
	return err
}

// onlyWriter hides the short cuts of a writer: the bytes are to be read.
type onlyWriter struct{ io.Writer }

// memFree is the memory that nothing uses, in bytes (proc_meminfo(5)).
func memFree() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemFree:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo does not say what is free")
}
