package wal

import "github.com/quorate/quorate/core/wal/disk"

// FS is what a log needs of a file system. It exists so that tests can lose and
// tear what was not synced; everybody else uses the operating system's.
type FS = disk.FS

// File is an open file of an FS.
type File = disk.File

// tmpSuffix marks files that a crash may leave half written; Open removes them.
const tmpSuffix = disk.TmpSuffix
